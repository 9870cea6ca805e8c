// Memory of the process that a vCPU runs, read from outside without the guest's kernel, as far as it is in RAM. Other
// memory (swapped out, not yet touched, not the process's own) only copy_from_user() can bring, or say that it is not
// there.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "guest/kernel.h"

namespace oboro::guest {

// The memory of the address space that the vCPU is in.
class UserMemory {
 public:
  // tables: the vCPU's. The vCPU has to stand still while this reads. Then its kernel cannot have waited for it to
  // forget a page of this address space, so the page belongs to nobody else yet. (A second look at the page tables
  // covers kernels that tell the processor to forget a page by other means.)
  UserMemory(const Kernel& kernel, const arch::PageTables& tables) : kernel_(kernel), tables_(tables) {}

  // False: some of the bytes are not there for the process. out is undefined then.
  bool read(uint64_t at, std::span<std::byte> out) const;
  // A string and its end, of at most max bytes in all. False: as above, or it is longer.
  bool read_string(uint64_t at, size_t max, std::string& out) const;

 private:
  // The place in RAM of the byte at `at`, which the process may read; nullopt: there is none.
  std::optional<Kernel::Place> place_of(uint64_t at) const;

  const Kernel& kernel_;
  arch::PageTables tables_;
};

}  // namespace oboro::guest
