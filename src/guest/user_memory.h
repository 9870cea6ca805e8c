// Memory of the process that a vCPU runs, read from outside without the guest's kernel: as far as it is in RAM. What is
// not (swapped out, not yet touched, not the process's own) only copy_from_user() can bring, or say that it is not
// there.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "guest/kernel.h"

namespace oboro::guest {

// Of the address space that the vCPU is in.
class UserMemory {
 public:
  // tables: the vCPU's. It has to stand still while this reads: then its kernel cannot have waited for it to forget a
  // page of this address space, and the page belongs to nobody else yet. (A kernel that lets the processor tell it so
  // by other means is covered by a second look at the page tables.)
  UserMemory(const Kernel& kernel, const arch::PageTables& tables) : kernel_(kernel), tables_(tables) {}

  // False: not all of it is there, for the process; out is undefined then.
  bool read(uint64_t at, std::span<std::byte> out) const;
  // A string and its end, of at most max bytes in all. False: likewise, or it is longer.
  bool read_string(uint64_t at, size_t max, std::string& out) const;

 private:
  // Where in RAM that is which the process may read at `at`; nullopt: there is nothing.
  std::optional<Kernel::Place> place_of(uint64_t at) const;

  const Kernel& kernel_;
  arch::PageTables tables_;
};

}  // namespace oboro::guest
