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
#include "engine/physical_writer.h"

namespace oboro::engine::kvm {

class KernelMapping {
 public:
  // Maps [start, start + size), both multiples of arch::kLargePageSize, with all vCPUs stopped. tables: of a vCPU in
  // kernel mode. image: an address in the kernel image. memory must outlive the mapping. Errors: not_found (page
  // tables, or they cannot be written), limit (no room).
  static Result<KernelMapping> make(const PhysicalMemory& memory, const arch::PageTables& tables, Gva image, Gpa start,
                                    uint64_t size);

  Gva base() const { return base_; }
  // False if the guest has changed an entry. Reads guest memory: only where its mapping stays
  // (engine/physical_memory.h). What the VMM has taken away as RAM just now leads nowhere, and is passed over.
  bool intact() const;

 private:
  struct Entry {
    Gpa at;
    uint64_t value;
  };
  explicit KernelMapping(const PhysicalMemory& memory) : memory_(&memory) {}

  const PhysicalMemory* memory_;
  Gva base_{};
  std::vector<Entry> entries_;
};

}  // namespace oboro::engine::kvm
