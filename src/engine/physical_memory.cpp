#include "engine/physical_memory.h"

#include <algorithm>

namespace oboro::engine {

bool PhysicalMemory::add(Gpa start, std::span<const std::byte> bytes) {
  const uint64_t end = start.value + bytes.size();
  if (bytes.empty() || end < start.value) return false;
  for (const Region& region : regions_)
    if (start.value < region.start + region.bytes.size() && region.start < end) return false;
  regions_.push_back({start.value, bytes});
  end_ = std::max(end_, end);
  return true;
}

}  // namespace oboro::engine
