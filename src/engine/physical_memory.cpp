#include "engine/physical_memory.h"

#include <algorithm>

namespace oboro::engine {

bool PhysicalMemory::add(const Region& added) {
  const uint64_t end = added.start + added.size();
  if (end <= added.start || (added.unmapped && !added.mapped.empty())) return false;
  Regions regions = *regions_.load();
  for (const Region& region : regions)
    if (added.start < region.start + region.size() && region.start < end) return false;
  regions.push_back(added);
  exchange(std::move(regions));
  return true;
}

std::unique_ptr<const PhysicalMemory::Regions> PhysicalMemory::exchange(Regions regions) {
  auto fresh = std::make_unique<const Regions>(std::move(regions));
  return std::unique_ptr<const Regions>(regions_.exchange(fresh.release()));
}

const PhysicalMemory::Region* PhysicalMemory::find(const Regions& regions, Gpa at) {
  const auto found = std::find_if(regions.begin(), regions.end(),
                                  [at](const Region& region) { return at.value - region.start < region.size(); });
  return found == regions.end() ? nullptr : &*found;
}

size_t PhysicalMemory::read_some(Gpa at, std::span<std::byte> out) const {
  const Regions& regions = *regions_.load(std::memory_order_acquire);
  size_t done = 0;
  while (done < out.size()) {
    const Region* region = find(regions, at + done);
    if (!region) break;
    const uint64_t offset = at.value + done - region->start;
    size_t part = std::min<uint64_t>(out.size() - done, region->size() - offset);
    if (!region->mapped.empty())
      std::memcpy(out.data() + done, region->mapped.data() + offset, part);
    else
      part = access_ ? std::min(access_->read(at + done, out.subspan(done, part)), part) : 0;
    if (part == 0) break;
    done += part;
  }
  return done;
}

uint64_t PhysicalMemory::end() const {
  constexpr uint64_t k4GiB = uint64_t{1} << 32;
  Regions regions = *regions_.load(std::memory_order_acquire);
  std::sort(regions.begin(), regions.end(), [](const Region& a, const Region& b) { return a.start < b.start; });
  uint64_t end = 0;
  for (const Region& region : regions)
    if (region.start < k4GiB || region.start == std::max(end, k4GiB)) end = region.start + region.size();
  return end;
}

}  // namespace oboro::engine
