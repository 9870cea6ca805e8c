// Makes a piece of guest physical memory visible to the guest's kernel: read-only, executable, and within reach of a
// jmp from all of the kernel's code. It uses free large-page entries of the one page-middle directory that maps the
// kernel image (level2_kernel_pgt, arch/x86/kernel/head_64.S). All processes share that directory.
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
  // kernel mode. image: an address in the kernel image. memory must outlive the mapping. Errors: not_found (the page
  // tables are not there, or cannot be written), limit (no room).
  static Result<KernelMapping> make(const PhysicalMemory& memory, const arch::PageTables& tables, Gva image, Gpa start,
                                    uint64_t size);

  Gva base() const { return base_; }
  // False if the guest has changed an entry. Reads guest memory, so it may be called only where its mapping stays
  // (engine/physical_memory.h). An entry whose RAM the VMM has taken away just now is passed over: it leads nowhere.
  bool intact() const;
  // Takes the entries out of the guest's page tables, and puts them back, with all vCPUs stopped. Where the guest has
  // put something else meanwhile, that stays. False: not all of them are there now.
  void set_aside();
  [[nodiscard]] bool put_back();
  // The guest physical memory is at `start` from now on. With all vCPUs stopped; aside: the entries are out just now.
  void lead_to(Gpa start, bool aside);
  // Whether an entry lies in this guest physical memory.
  bool touches(uint64_t start, uint64_t size) const;

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
