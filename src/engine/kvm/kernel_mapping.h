// Makes a piece of guest physical memory visible to the guest's kernel, read-only and executable, within reach of a jmp
// from all of its code: by unused large-page entries of the one page-middle directory that maps the kernel image
// (level2_kernel_pgt, arch/x86/kernel/head_64.S), which all processes share.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "arch/arch.h"
#include "base/address.h"
#include "base/result.h"
#include "engine/kvm/memory_map.h"

namespace oboro::engine::kvm {

class KernelMapping {
 public:
  // Maps [start, start + size), both multiples of arch::kLargePageSize, with all vCPUs stopped. tables: of a vCPU in
  // kernel mode. image: an address in the kernel image. Errors: not_found (page tables), limit (no room).
  static Result<KernelMapping> make(const MemoryMap& map, const arch::PageTables& tables, Gva image, Gpa start,
                                    uint64_t size);

  Gva base() const { return base_; }
  // False if the guest has changed an entry.
  bool intact() const;

 private:
  struct Entry {
    std::byte* at;
    uint64_t value;
  };
  Gva base_{};
  std::vector<Entry> entries_;
};

}  // namespace oboro::engine::kvm
