// The places in the guest kernel's code that are ours while hooks are in: the NOP at the entry of each hooked function,
// which the compiler left there for ftrace (arch/x86_64/patching.h). One instruction, so no vCPU and no sleeping task
// can stand in its middle.
//
// Threads: add(), install(), remove() while no vCPU runs guest code (Machine::Stopped); check() at any time.
#pragma once

#include <cstddef>
#include <vector>

#include "arch/code.h"
#include "base/address.h"

namespace oboro::engine::kvm {

class HookSites {
 public:
  // bytes: host memory of the NOP; it must stay until clear(). What stands there now is what remove() puts back.
  void add(Gva nop, std::byte* bytes, const arch::SiteBytes& ours);
  void install();
  // Puts the guest's own bytes back wherever ours still are.
  void remove();
  void clear() { sites_.clear(); }
  size_t size() const { return sites_.size(); }
  // The first site that holds other bytes than ours: the guest has patched it. Null if none.
  Gva overwritten() const;

 private:
  struct Site {
    Gva nop;
    std::byte* bytes;
    arch::SiteBytes ours, theirs;
  };
  std::vector<Site> sites_;
};

}  // namespace oboro::engine::kvm
