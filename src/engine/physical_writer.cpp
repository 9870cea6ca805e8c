#include "engine/physical_writer.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace oboro::engine {
namespace {

constexpr int kMaxTries = 1000;  // of a change to a word that others change all the time

// Guest RAM is this process's own memory. It is const only for readers.
std::byte* writable(const PhysicalMemory::Region& region, Gpa at) {
  return const_cast<std::byte*>(region.mapped.data()) + (at.value - region.start);
}

std::atomic_ref<uint64_t> word(const PhysicalMemory::Region& region, Gpa at) {
  return std::atomic_ref(*reinterpret_cast<uint64_t*>(writable(region, at)));
}

}  // namespace

bool PhysicalWriter::may_write(Gpa at, size_t size) const {
  return may_write(*memory_->regions_.load(std::memory_order_acquire), at, size);
}

bool PhysicalWriter::may_write(const PhysicalMemory::Regions& regions, Gpa at, size_t size) const {
  for (size_t done = 0; done < size;) {
    const Region* region = PhysicalMemory::find(regions, at + done);
    if (!region || region->read_only || (region->unmapped && !memory_->access_)) return false;
    done += std::min<uint64_t>(size - done, region->start + region->size() - (at.value + done));
  }
  return true;
}

bool PhysicalWriter::write(Gpa at, std::span<const std::byte> bytes) const {
  const PhysicalMemory::Regions& regions = *memory_->regions_.load(std::memory_order_acquire);
  if (!may_write(regions, at, bytes.size())) return false;
  while (!bytes.empty()) {
    const Region* region = PhysicalMemory::find(regions, at);
    size_t part = std::min<uint64_t>(bytes.size(), region->start + region->size() - at.value);
    if (!region->unmapped)
      std::memcpy(writable(*region, at), bytes.data(), part);
    else
      part = std::min(memory_->access_->write(at, bytes.first(part)), part);
    if (part == 0) return false;
    bytes = bytes.subspan(part);
    at = at + part;
  }
  return true;
}

// Null unless the word lies in one region, may be written, and is aligned in the guest and in this process.
const PhysicalMemory::Region* PhysicalWriter::region_of_word(Gpa at) const {
  constexpr uint64_t kSize = sizeof(uint64_t);
  const Region* region = PhysicalMemory::find(*memory_->regions_.load(std::memory_order_acquire), at);
  if (!region || region->read_only || at.value % kSize || region->start + region->size() - at.value < kSize)
    return nullptr;
  if (region->unmapped) return memory_->access_ ? region : nullptr;
  return reinterpret_cast<uintptr_t>(writable(*region, at)) % kSize ? nullptr : region;
}

template <typename Change>
bool PhysicalWriter::change_unmapped(Gpa at, Change change) const {
  std::optional<uint64_t> known = memory_->read_u64(at);
  for (int i = 0; known && i < kMaxTries; ++i) {
    const std::optional<uint64_t> found = memory_->access_->compare_exchange(at, *known, change(*known));
    if (found == known) return true;
    known = found;
  }
  return false;
}

bool PhysicalWriter::set_bits(Gpa at, uint64_t bits) const {
  const Region* region = region_of_word(at);
  if (!region) return false;
  if (region->unmapped) return change_unmapped(at, [bits](uint64_t value) { return value | bits; });
  word(*region, at).fetch_or(bits);
  return true;
}

bool PhysicalWriter::clear_bits(Gpa at, uint64_t bits) const {
  const Region* region = region_of_word(at);
  if (!region) return false;
  if (region->unmapped) return change_unmapped(at, [bits](uint64_t value) { return value & ~bits; });
  word(*region, at).fetch_and(~bits);
  return true;
}

bool PhysicalWriter::compare_exchange(Gpa at, uint64_t expected, uint64_t desired) const {
  const Region* region = region_of_word(at);
  if (!region) return false;
  if (region->unmapped) return memory_->access_->compare_exchange(at, expected, desired) == expected;
  return word(*region, at).compare_exchange_strong(expected, desired);
}

}  // namespace oboro::engine
