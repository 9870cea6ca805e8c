// Guest RAM as the engine sees it: host mappings at guest physical addresses. Read-only by type: nothing in Oboro that
// traces can write to a guest.
//
// Threads: read from any vCPU thread without a lock. The guest changes the bytes meanwhile, so every value is copied
// out once and used from the copy. add() before anybody reads; exchange() by one thread at a time, at any time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"

namespace oboro::engine {

class PhysicalMemory {
 public:
  struct Region {
    uint64_t start;
    std::span<const std::byte> bytes;
    bool read_only = false;  // the guest may not write there, and this process's mapping may not let it
  };
  using Regions = std::vector<Region>;

  PhysicalMemory() : regions_(new Regions) {}
  ~PhysicalMemory() { delete regions_.load(); }
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;

  // bytes must outlive this. Regions must not overlap; a region that would wrap the address space is refused.
  bool add(Gpa start, std::span<const std::byte> bytes);
  // Other regions take the place of all. What is returned may still be read: it, and the bytes of regions that are
  // gone, must stay until every thread that was reading has come to its end.
  std::unique_ptr<const Regions> exchange(Regions regions);

  // The bytes from `at` to the end of its region; empty if there is no RAM.
  std::span<const std::byte> from(Gpa at) const {
    for (const Region& region : *regions_.load(std::memory_order_acquire)) {
      const uint64_t offset = at.value - region.start;
      if (offset < region.bytes.size()) return region.bytes.subspan(offset);
    }
    return {};
  }

  // Whether bytes of from() belong to RAM that the guest can write to.
  bool may_be_written(std::span<const std::byte> bytes) const {
    for (const Region& region : *regions_.load(std::memory_order_acquire))
      if (!std::less<>()(bytes.data(), region.bytes.data()) &&
          std::less<>()(bytes.data(), region.bytes.data() + region.bytes.size()))
        return !region.read_only;
    return false;
  }

  std::optional<uint64_t> read_u64(Gpa at) const {
    const std::span<const std::byte> bytes = from(at);
    if (bytes.size() < sizeof(uint64_t)) return std::nullopt;
    uint64_t value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }

  // One past the highest byte of RAM: below 4 GiB, or contiguous from there. (Far above may be memory of devices.)
  uint64_t end() const;

 private:
  std::atomic<const Regions*> regions_;
};

}  // namespace oboro::engine
