// The guest's memory as the VMM tells KVM of it: host memory at guest physical addresses, in numbered slots that come
// and go (KVM_SET_USER_MEMORY_REGION, Linux Documentation/virt/kvm/api.rst).
//
// Threads: any for set() and remove(); the tracer reads memory() without a lock.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/address.h"
#include "engine/physical_memory.h"

namespace oboro::engine::kvm {

struct Slot {
  uint64_t start = 0;  // guest physical
  uint64_t size = 0;   // bytes
  uint64_t host = 0;   // address in this process
  bool read_only = false;
  bool logged = false;  // KVM_MEM_LOG_DIRTY_PAGES
};

class MemoryMap {
 public:
  using Old = std::unique_ptr<const PhysicalMemory::Regions>;

  const PhysicalMemory& memory() const { return memory_; }
  // The returned list may still be read by handlers that run now (PhysicalMemory::exchange).
  Old set(uint32_t slot, const Slot& what);
  Old remove(uint32_t slot);
  bool has(uint32_t slot) const;
  // Whether anything is mapped in [start, start + size).
  bool overlaps(uint64_t start, uint64_t size) const;
  // Whether the VMM has KVM log which pages of [start, start + size) are written, or of some of it.
  bool is_logged(uint64_t start, uint64_t size) const;
  // The guest physical memory that lies in this memory of the process: starts and sizes.
  std::vector<std::pair<uint64_t, uint64_t>> pieces_in(uint64_t host, uint64_t size) const;

 private:
  Old publish();

  mutable std::mutex mutex_;
  std::map<uint32_t, Slot> slots_;
  PhysicalMemory memory_;
};

}  // namespace oboro::engine::kvm
