// The one writer of guest memory. All that this process changes in a guest goes through it: the sites of hooks, the
// page-table entries that lead to the tracer's slot (engine/kvm), and, through guest::Writer, the marks that keep
// ftrace off the sites, and the stacks, structures and pages of threads that are steered.
//
// Two things are not written by it, and are no exception: the slot (engine/kvm/filter_slot.h) is memory of this
// process's own, which the guest may only read; and the notes of receivers are written by the guest's own vCPU, in a
// stub of the slot, to the stack of the task that it runs (FilterStep::Op::note).
//
// What the guest may not write to (ROM) is refused, as is what is no RAM.
//
// Threads: any, under the rules of physical_memory.h. Bytes that a vCPU may use meanwhile are changed by a word at a
// time; code only while no vCPU runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/physical_memory.h"

namespace oboro::engine {

class PhysicalWriter {
 public:
  // memory must outlive this.
  explicit PhysicalWriter(const PhysicalMemory& memory) : memory_(&memory) {}

  const PhysicalMemory& memory() const { return *memory_; }
  // Whether all of it is RAM that may be written to.
  bool may_write(Gpa at, size_t size) const;
  // False, and nothing is written, unless all of it may be. (What an engine has not mapped it may fail to reach in the
  // middle; then what was before that is written.)
  [[nodiscard]] bool write(Gpa at, std::span<const std::byte> bytes) const;

  // Of a word that vCPUs may change meanwhile, atomically. `at`: a multiple of 8. False if it cannot be written to.
  [[nodiscard]] bool set_bits(Gpa at, uint64_t bits) const;
  [[nodiscard]] bool clear_bits(Gpa at, uint64_t bits) const;
  // False, too, if the word is not `expected`: then it stays as it is.
  [[nodiscard]] bool compare_exchange(Gpa at, uint64_t expected, uint64_t desired) const;

 private:
  using Region = PhysicalMemory::Region;

  bool may_write(const PhysicalMemory::Regions& regions, Gpa at, size_t size) const;
  const Region* region_of_word(Gpa at) const;
  template <typename Change>
  bool change_unmapped(Gpa at, Change change) const;

  const PhysicalMemory* memory_;
};

}  // namespace oboro::engine
