// The places in the guest kernel's code that are ours while hooks are in: the five-byte NOP at the entry of each hooked
// function, which the compiler left there for ftrace (-mfentry). One instruction, so no vCPU and no sleeping task can
// stand in its middle.
//
// Threads: add(), install(), remove() while no vCPU runs guest code (Machine::Stopped); check() at any time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"

namespace oboro::engine::kvm {

inline constexpr size_t kNopSize = 5;
inline constexpr size_t kEntrySize = 9;  // what nop_offset() looks at
using SiteBytes = std::array<uint8_t, kNopSize>;

// Where in a function the NOP is: at its first byte, or behind an ENDBR64 or what the kernel seals one with; nullopt if
// the function does not begin so.
std::optional<unsigned> nop_offset(std::span<const std::byte> entry);

// jmp from the NOP at `nop` to `target`, which must be within reach.
SiteBytes jump_to(Gva nop, Gva target);

class HookSites {
 public:
  // bytes: host memory of the NOP; it must stay until clear(). What stands there now is what remove() puts back.
  void add(Gva nop, std::byte* bytes, const SiteBytes& ours);
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
    SiteBytes ours, theirs;
  };
  std::vector<Site> sites_;
};

}  // namespace oboro::engine::kvm
