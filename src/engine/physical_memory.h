// Guest RAM as the engine sees it: host mappings at guest physical addresses. Read-only by type: nothing in Oboro that
// traces can write to a guest.
//
// Threads: read from any vCPU thread without a lock once set up. The guest changes the bytes meanwhile, so every value
// is copied out once and used from the copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"

namespace oboro::engine {

class PhysicalMemory {
 public:
  // bytes must outlive this. Regions must not overlap; a region that would wrap the address space is refused.
  bool add(Gpa start, std::span<const std::byte> bytes);

  // The bytes from `at` to the end of its region; empty if there is no RAM.
  std::span<const std::byte> from(Gpa at) const {
    for (const Region& region : regions_) {
      const uint64_t offset = at.value - region.start;
      if (offset < region.bytes.size()) return region.bytes.subspan(offset);
    }
    return {};
  }

  std::optional<uint64_t> read_u64(Gpa at) const {
    const std::span<const std::byte> bytes = from(at);
    if (bytes.size() < sizeof(uint64_t)) return std::nullopt;
    uint64_t value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }

  uint64_t end() const { return end_; }  // one past the highest RAM byte

 private:
  struct Region {
    uint64_t start;
    std::span<const std::byte> bytes;
  };
  std::vector<Region> regions_;
  uint64_t end_ = 0;
};

}  // namespace oboro::engine
