// Stopping the machine: for a change that no vCPU may see half done, or for good.
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

  // Whether stop() stops before it returns.
  virtual bool at_once() const = 0;
  // Calls `change` once, while no vCPU runs guest code or is at a hook, but for `self`, which stands where this is
  // called from (null: none does). At once: before it returns, on this thread, and self's registers can be read in it.
  // Later: on any thread, with no vCPU at a hook; self, too, has gone on until then. Not within a change; with one that
  // is to come, not before that has been called.
  virtual void stop(Vcpu* self, std::function<void()> change) = 0;
  // Calls `wait`, which waits for somebody who may be stopping the machine. Meanwhile self, which stands where this is
  // called from, does not count as being at a hook.
  virtual void aside(Vcpu& self, const std::function<void()>& wait) = 0;
  // The machine has to end, and `why` be said: no vCPU runs guest code from here on, self included. Need not return.
  virtual void end(const std::string& why) = 0;
};

}  // namespace oboro::engine
