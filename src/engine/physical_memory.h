// Guest RAM as the engine offers it, by guest physical address. Where it lies in this process, if it does, nobody above
// the engine learns: what is read is a copy, and what is written goes through PhysicalWriter (physical_writer.h).
//
// Threads: read from any vCPU thread without a lock. The guest changes the bytes meanwhile, so every value is copied
// out once and used from the copy. add() before anybody reads; exchange() by one thread at a time, at any time.
//
// A mapping may go away while the guest runs (KVM: the VMM changes its memory slots). So nobody keeps a pointer into
// it, but only guest physical addresses. Reads and writes are allowed only where the engine waits for them before the
// bytes go: inside Machine::Handling or Machine::Reading (engine/kvm/machine.h). On TCG the mapping stays for the life
// of the process.
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
// asked only for RAM, and never across the end of a region.
//
// Threads: any vCPU thread, several at once.
class MemoryAccess {
 public:
  virtual ~MemoryAccess() = default;
  // Copies bytes from `at` on. Returns how many: fewer than asked for, if one call reaches no further. 0: they cannot
  // be read.
  virtual size_t read(Gpa at, std::span<std::byte> out) = 0;
  // Writes in the same way.
  virtual size_t write(Gpa at, std::span<const std::byte> bytes) = 0;
  // If the aligned word is `expected`, it becomes `desired`, and no vCPU can have changed it in between. (An engine
  // that has no other way stops the vCPUs.) Returns what was there; nullopt: the word cannot be reached.
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

  // access must outlive this. Without it, all RAM has to be mapped.
  explicit PhysicalMemory(MemoryAccess* access = nullptr) : regions_(new Regions), access_(access) {}
  ~PhysicalMemory() { delete regions_.load(); }
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;

  // The mapped bytes must outlive this. A region is mapped as a whole, or not at all. Regions must not overlap. A
  // region that would wrap the address space is refused.
  bool add(const Region& region);
  // Replaces all regions. The old ones, which are returned, may still be read: they, and the bytes of regions that are
  // gone, must stay until every thread that was reading has come to its end.
  std::unique_ptr<const Regions> exchange(Regions regions);

  // Copies `size` bytes. False if some of them are no RAM, or cannot be read; out is undefined then.
  bool read(Gpa at, void* out, size_t size) const {
    return read_mapped(at, out, size) || read_some(at, {static_cast<std::byte*>(out), size}) == size;
  }
  // The part of read() that nearly always suffices, to be inlined: the bytes are mapped, and in one region.
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
  // Copies as far as there is RAM. Returns how many bytes.
  size_t read_some(Gpa at, std::span<std::byte> out) const;

  // One past the highest byte of RAM that is below 4 GiB or contiguous from there. (Memory far above may belong to
  // devices.)
  uint64_t end() const;

 private:
  friend class PhysicalWriter;
  static const Region* find(const Regions& regions, Gpa at);

  std::atomic<const Regions*> regions_;
  MemoryAccess* access_;
};

}  // namespace oboro::engine
