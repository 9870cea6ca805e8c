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

}  // namespace oboro::engine::kvm
