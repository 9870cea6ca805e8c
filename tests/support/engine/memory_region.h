// A VMM's memory slot, as it gives it to KVM.
#pragma once

#include <cstdint>
#include <linux/kvm.h>

namespace oboro::fake {

inline kvm_userspace_memory_region memory_region(uint32_t slot, uint64_t start, uint64_t size, const void* host,
                                                 uint32_t flags = 0) {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.flags = flags;
  region.guest_phys_addr = start;
  region.memory_size = size;
  region.userspace_addr = reinterpret_cast<uint64_t>(host);
  return region;
}

}  // namespace oboro::fake
