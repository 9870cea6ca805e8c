#include "engine/kvm/memory_map.h"

#include <algorithm>

namespace oboro::engine::kvm {

MemoryMap::Old MemoryMap::publish() {
  PhysicalMemory::Regions regions;
  for (const auto& [number, slot] : slots_)
    regions.push_back({.start = slot.start,
                       .mapped = {reinterpret_cast<const std::byte*>(slot.host), slot.size},
                       .read_only = slot.read_only});
  // The largest region first: nearly every look-up is in main memory.
  std::sort(regions.begin(), regions.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  return memory_.exchange(std::move(regions));
}

MemoryMap::Old MemoryMap::set(uint32_t number, const Slot& what) {
  const std::lock_guard lock(mutex_);
  slots_[number] = what;
  return publish();
}

MemoryMap::Old MemoryMap::remove(uint32_t number) {
  const std::lock_guard lock(mutex_);
  if (slots_.erase(number) == 0) return nullptr;
  return publish();
}

bool MemoryMap::has(uint32_t number) const {
  const std::lock_guard lock(mutex_);
  return slots_.contains(number);
}

bool MemoryMap::overlaps(uint64_t start, uint64_t size) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(slots_.begin(), slots_.end(), [&](const auto& entry) {
    return entry.second.start < start + size && start < entry.second.start + entry.second.size;
  });
}

bool MemoryMap::is_logged(uint64_t start, uint64_t size) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(slots_.begin(), slots_.end(), [&](const auto& entry) {
    const Slot& slot = entry.second;
    return slot.logged && slot.start < start + size && start < slot.start + slot.size;
  });
}

std::vector<std::pair<uint64_t, uint64_t>> MemoryMap::pieces_in(uint64_t host, uint64_t size) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<uint64_t, uint64_t>> pieces;
  for (const auto& [number, slot] : slots_) {
    const uint64_t from = std::max(host, slot.host), to = std::min(host + size, slot.host + slot.size);
    if (from < to) pieces.emplace_back(slot.start + (from - slot.host), to - from);
  }
  return pieces;
}

}  // namespace oboro::engine::kvm
