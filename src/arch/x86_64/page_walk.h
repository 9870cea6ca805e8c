// Long-mode page-table walk (Intel SDM vol. 3, 4.5), four and five levels, over any source of physical memory.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "arch/x86_64/registers.h"
#include "base/address.h"

namespace oboro::arch {

inline constexpr uint64_t kPresent = 1;
inline constexpr uint64_t kUserPage = uint64_t{1} << 2;
inline constexpr uint64_t kLargePage = uint64_t{1} << 7;
inline constexpr uint64_t kFrameMask = 0x000ffffffffff000;  // bits 51..12

// Where the vCPU finds its page tables, and their form.
struct PageTables {
  uint64_t root = 0;  // CR3: its low bits (PCID) do not matter
  bool five_levels = false;
};

// The tables of the address space that the vCPU is in. like: any tables of the same boot; all of these have the same
// form.
template <typename Cpu>
PageTables current_tables(Cpu& cpu, const PageTables& like) {
  return {cpu.reg(Reg::cr3), like.five_levels};
}
// The tables whose top level lies there (mm_struct.pgd).
inline PageTables tables_at(Gpa top, const PageTables& like) { return {top.value, like.five_levels}; }
template <typename Cpu>
void set_tables(Cpu& cpu, const PageTables& tables) {  // of one that is made up
  cpu.set(Reg::cr3, tables.root);
}

// The tables that may map the whole kernel for a vCPU that runs anything; the likeliest first. With page-table
// isolation, user mode runs on the second of a pair of top-level tables (PTI_USER_PGTABLE_BIT).
template <typename Cpu>
std::array<PageTables, 2> kernel_tables(Cpu& cpu) {
  constexpr uint64_t kUserHalf = 0x1000, kLa57 = uint64_t{1} << 12;
  const bool five_levels = cpu.reg(Reg::cr4) & kLa57;
  const uint64_t root = cpu.reg(Reg::cr3) & kFrameMask;
  return {{{root & ~kUserHalf, five_levels}, {root, five_levels}}};
}

struct Translation {
  Gpa address;         // of the byte asked for
  uint64_t remaining;  // bytes from there to the end of its page
  bool user;           // programs may read it, not the kernel alone
};

// read_u64(Gpa) -> std::optional<uint64_t>. nullopt: the address is not mapped, not readable or not canonical. At most
// five reads.
template <typename ReadU64>
std::optional<Translation> walk(ReadU64&& read_u64, const PageTables& tables, Gva va) {
  const int top = tables.five_levels ? 4 : 3;
  const int sign = tables.five_levels ? 56 : 47;
  const auto high = static_cast<int64_t>(va.value) >> sign;
  if (high != 0 && high != -1) return std::nullopt;

  uint64_t table = tables.root & kFrameMask;
  bool user = true;  // each level can take that away
  for (int level = top; level >= 0; --level) {
    const int shift = 12 + 9 * level;
    const uint64_t index = (va.value >> shift) & 511;
    const std::optional<uint64_t> entry = read_u64(Gpa(table + index * 8));
    if (!entry || !(*entry & kPresent)) return std::nullopt;
    user = user && (*entry & kUserPage);
    const bool leaf = level == 0 || (level <= 2 && (*entry & kLargePage));
    if (leaf) {
      const uint64_t page = uint64_t{1} << shift;
      const uint64_t frame = *entry & kFrameMask & ~(page - 1);
      const uint64_t offset = va.value & (page - 1);
      return Translation{Gpa(frame + offset), page - offset, user};
    }
    table = *entry & kFrameMask;
  }
  return std::nullopt;
}

}  // namespace oboro::arch
