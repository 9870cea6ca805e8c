// Stopping the machine: for a change that no vCPU may see half done, or for ever.
//
// Implemented by tracer/entry/kvm (engine/kvm/machine.h: at once), by tracer/entry/tcg (later: QEMU throws its
// translated code away when no vCPU runs any), and by tests/support/engine/fake_engine.h in both ways.
#pragma once

#include <functional>
#include <string>

#include "engine/engine.h"

namespace oboro::engine {

class Stopping {
 public:
  virtual ~Stopping() = default;

  // Whether stop() stops the machine before it returns.
  virtual bool at_once() const = 0;
  // Calls `change` once, while no vCPU runs guest code or is at a hook. self is the vCPU whose thread calls this, and
  // may be at a hook (null: no vCPU's thread).
  // At once: `change` is called before this returns, on this thread, and may read self's registers.
  // Later: `change` is called on any thread, with no vCPU at a hook; self, too, has gone on until then.
  // Not to be called within a change, nor while an earlier change is still to come.
  virtual void stop(Vcpu* self, std::function<void()> change) = 0;
  // Calls `wait`, which waits for a thread that may be stopping the machine. self is the vCPU whose thread calls this.
  // Meanwhile it does not count as being at a hook.
  virtual void aside(Vcpu& self, const std::function<void()>& wait) = 0;
  // Ends the machine, and says `why`: no vCPU runs guest code from here on, self included. Need not return.
  virtual void end(const std::string& why) = 0;
};

}  // namespace oboro::engine
