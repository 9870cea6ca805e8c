// Guest RAM as the engine offers it, by guest physical address. Where it lies in this process, if it does, nobody above
// the engine learns: what is read is a copy, and what is written goes through PhysicalWriter (physical_writer.h).
//
// Threads: read from any vCPU thread without a lock. The guest changes the bytes meanwhile, so every value is copied
// out once and used from the copy. add() before anybody reads; exchange() by one thread at a time, at any time.
//
// What is mapped may go away while the guest runs (KVM: the VMM changes its memory slots). So nobody keeps a pointer
// into it, but only guest physical addresses; and whoever reads or writes does so where the engine waits for it before
// the bytes go: inside Machine::Handling or Machine::Reading (engine/kvm/machine.h). On TCG the mapping stays for the
// life of the process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"

namespace oboro::engine {

// How an engine gets at RAM that this process has not mapped: through another process, a hypervisor, or a daemon. It is
// only asked for what is RAM, and never across the end of a region.
//
// Threads: any vCPU thread, several at once.
class MemoryAccess {
 public:
  virtual ~MemoryAccess() = default;
  // Copies bytes from `at` on: how many, which may be fewer than asked for, if that is as far as one call reaches. 0:
  // they cannot be read.
  virtual size_t read(Gpa at, std::span<std::byte> out) = 0;
  // Likewise.
  virtual size_t write(Gpa at, std::span<const std::byte> bytes) = 0;
  // If the aligned word is `expected`, it becomes `desired`, and no vCPU can have changed it in between. (Who cannot do
  // that otherwise stops the vCPUs.) What was there; nullopt: it cannot be reached.
  virtual std::optional<uint64_t> compare_exchange(Gpa at, uint64_t expected, uint64_t desired) = 0;
};

class PhysicalMemory {
 public:
  struct Region {
    uint64_t start = 0;
    std::span<const std::byte> mapped{};  // in this process; empty: only MemoryAccess reaches it,
    uint64_t unmapped = 0;                // so many bytes
    bool read_only = false;               // nothing is written there: it is ROM, or our mapping does not allow it

    uint64_t size() const { return mapped.size() + unmapped; }
  };
  using Regions = std::vector<Region>;

  // access must outlive this. Without one, everything that is RAM has to be mapped.
  explicit PhysicalMemory(MemoryAccess* access = nullptr) : regions_(new Regions), access_(access) {}
  ~PhysicalMemory() { delete regions_.load(); }
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;

  // What is mapped must outlive this. A region is mapped or not, as a whole. Regions must not overlap; one that would
  // wrap the address space is refused.
  bool add(const Region& region);
  // Other regions take the place of all. What is returned may still be read: it, and the bytes of regions that are
  // gone, must stay until every thread that was reading has come to its end.
  std::unique_ptr<const Regions> exchange(Regions regions);

  // Copies `size` bytes. False if not all of them are RAM that can be read; out is undefined then.
  bool read(Gpa at, void* out, size_t size) const {
    return read_mapped(at, out, size) || read_some(at, {static_cast<std::byte*>(out), size}) == size;
  }
  // The part of read() that nearly always suffices, to be inlined: of what is mapped, and in one region.
  bool read_mapped(Gpa at, void* out, size_t size) const {
    for (const Region& region : *regions_.load(std::memory_order_acquire)) {
      const uint64_t offset = at.value - region.start;
      if (offset >= region.mapped.size()) continue;
      if (size > region.mapped.size() - offset) break;
      std::memcpy(out, region.mapped.data() + offset, size);
      return true;
    }
    return false;
  }
  std::optional<uint64_t> read_u64(Gpa at) const {
    uint64_t value;
    return read(at, &value, sizeof value) ? std::optional(value) : std::nullopt;
  }
  // As far as there is RAM: how many bytes.
  size_t read_some(Gpa at, std::span<std::byte> out) const;

  // One past the highest byte of RAM: below 4 GiB, or contiguous from there. (Far above may be memory of devices.)
  uint64_t end() const;

 private:
  friend class PhysicalWriter;
  static const Region* find(const Regions& regions, Gpa at);

  std::atomic<const Regions*> regions_;
  MemoryAccess* access_;
};

}  // namespace oboro::engine
