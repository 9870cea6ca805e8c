// The one writer of guest memory. All changes that this process makes in a guest go through it: the sites of hooks, the
// page-table entries that lead to the tracer's slot (engine/kvm); and, through guest::Writer, the marks that keep
// ftrace off the sites, and the stacks, structures and pages of steered threads.
//
// Two writes do not go through it. The slot (engine/kvm/filter_slot.h) is memory of this process's own, which the guest
// may only read. The notes of receivers are written by the guest's own vCPU, in a stub of the slot, to the stack of the
// task that it runs (FilterStep::Op::note).
//
// A write to memory that the guest may not write (ROM), or that is no RAM, is refused.
//
// Threads: any, under the rules of physical_memory.h. Bytes that a vCPU may use meanwhile are changed a word at a time.
// Code is changed only while no vCPU runs.
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
  // Whether all of these bytes are RAM that may be written.
  bool may_write(Gpa at, size_t size) const;
  // False, and nothing is written, unless all of the bytes may be. (An engine may fail in the middle of bytes that it
  // has not mapped. Then the bytes before are written.)
  [[nodiscard]] bool write(Gpa at, std::span<const std::byte> bytes) const;

  // Sets bits, atomically, of a word that vCPUs may change meanwhile. `at`: a multiple of 8. False if it cannot be
  // written.
  [[nodiscard]] bool set_bits(Gpa at, uint64_t bits) const;
  [[nodiscard]] bool clear_bits(Gpa at, uint64_t bits) const;
  // False also if the word is not `expected`: then it stays as it is.
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
