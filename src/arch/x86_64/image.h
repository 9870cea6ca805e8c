// The address space of a Linux kernel on x86-64 (Documentation/arch/x86/x86_64/mm.rst).
#pragma once

#include <cstdint>

#include "base/address.h"

namespace oboro::arch {

// The area in which the kernel maps its image: __START_KERNEL_map to MODULES_VADDR
// (arch/x86/include/asm/page_64_types.h). The image starts at a multiple of kImageAlignment.
inline constexpr uint64_t kImageArea = 0xffffffff80000000, kImageAreaEnd = 0xffffffffc0000000;
inline constexpr uint64_t kImageAlignment = uint64_t{2} << 20;

inline constexpr uint64_t kUserSpaceEnd = uint64_t{1} << 56;
// Whether the address is canonical and in the kernel's half, with four levels of page tables or with five.
inline constexpr bool is_kernel_address(Gva va) { return va.value >> 47 == 0x1ffff || va.value >> 56 == 0xff; }

}  // namespace oboro::arch
