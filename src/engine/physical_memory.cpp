#include "engine/physical_memory.h"

#include <algorithm>

namespace oboro::engine {

bool PhysicalMemory::add(Gpa start, std::span<const std::byte> bytes) {
  const uint64_t end = start.value + bytes.size();
  if (bytes.empty() || end < start.value) return false;
  Regions regions = *regions_.load();
  for (const Region& region : regions)
    if (start.value < region.start + region.bytes.size() && region.start < end) return false;
  regions.push_back({start.value, bytes});
  exchange(std::move(regions));
  return true;
}

std::unique_ptr<const PhysicalMemory::Regions> PhysicalMemory::exchange(Regions regions) {
  auto fresh = std::make_unique<const Regions>(std::move(regions));
  return std::unique_ptr<const Regions>(regions_.exchange(fresh.release()));
}

uint64_t PhysicalMemory::end() const {
  constexpr uint64_t k4GiB = uint64_t{1} << 32;
  Regions regions = *regions_.load(std::memory_order_acquire);
  std::sort(regions.begin(), regions.end(), [](const Region& a, const Region& b) { return a.start < b.start; });
  uint64_t end = 0;
  for (const Region& region : regions)
    if (region.start < k4GiB || region.start == std::max(end, k4GiB)) end = region.start + region.bytes.size();
  return end;
}

}  // namespace oboro::engine
