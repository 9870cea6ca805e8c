// The places in the guest kernel's code that are ours while hooks are in: the NOP at the entry of each hooked function,
// which the compiler left there for ftrace (arch/x86_64/patching.h). It is one instruction, so no vCPU and no sleeping
// task can stand in its middle.
//
// Threads: add(), install(), remove() while no vCPU runs guest code (Machine::Stopped); overwritten() at any time. All
// of them read guest memory, so they may be called only where its mapping stays (engine/physical_memory.h).
#pragma once

#include <cstddef>
#include <vector>

#include "arch/code.h"
#include "base/address.h"
#include "engine/physical_writer.h"

namespace oboro::engine::kvm {

class HookSites {
 public:
  // memory must outlive this.
  explicit HookSites(const PhysicalMemory& memory) : writer_(memory) {}

  // at: where in RAM the NOP is. The bytes that stand there now are those that remove() puts back. False: they cannot
  // be read, or not be written.
  [[nodiscard]] bool add(Gva nop, Gpa at, const arch::SiteBytes& ours);
  // A site that cannot be written now (the VMM has taken the RAM away) counts as overwritten() once the RAM is there
  // again.
  void install();
  // Puts the guest's own bytes back wherever ours still are.
  void remove();
  void clear() { sites_.clear(); }
  // install(), but only where the guest's own bytes still stand. False: not everywhere.
  [[nodiscard]] bool put_back();
  // Whether a site lies in this guest physical memory.
  bool touches(uint64_t start, uint64_t size) const;
  std::vector<Gva> nops() const;
  // The first site that holds other bytes than ours: the guest has patched it. Null if there is none. A site whose RAM
  // the VMM has taken away just now is passed over: no vCPU can run it.
  Gva overwritten() const;

 private:
  struct Site {
    Gva nop;
    Gpa at;
    arch::SiteBytes ours, theirs;
  };
  PhysicalWriter writer_;
  std::vector<Site> sites_;
};

}  // namespace oboro::engine::kvm
