// Pages of 2 MiB in the page tables of a kernel.
#pragma once

#include <cstdint>
#include <optional>

#include "arch/x86_64/page_walk.h"

namespace oboro::arch {

inline constexpr uint64_t kLargePageSize = uint64_t{2} << 20;
inline constexpr unsigned kTableEntries = 512;

// The table (page-middle directory) whose entries map 2 MiB pages around `va`; it has kTableEntries words. nullopt: it
// cannot be read, or larger pages map `va`.
template <typename ReadU64>
std::optional<Gpa> large_page_table(ReadU64&& read_u64, const PageTables& tables, Gva va) {
  uint64_t table = tables.root & kFrameMask;
  for (int level = tables.five_levels ? 4 : 3; level > 1; --level) {
    const std::optional<uint64_t> entry = read_u64(Gpa(table + ((va.value >> (12 + 9 * level)) & 511) * 8));
    if (!entry || !(*entry & kPresent) || (*entry & kLargePage)) return std::nullopt;
    table = *entry & kFrameMask;
  }
  return Gpa(table);
}

// An entry of that table: the kernel may read and execute the page, and nobody may write it. (It is marked as accessed:
// else the processor would write to the entry.)
inline uint64_t large_kernel_page(Gpa at) {
  constexpr uint64_t kAccessed = 0x20;
  return at.value | kPresent | kLargePage | kAccessed;
}

}  // namespace oboro::arch
