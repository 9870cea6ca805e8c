// Long-mode page-table walk (Intel SDM vol. 3, 4.5), four and five levels, over any source of physical memory.
#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"

namespace oboro::arch {

inline constexpr uint64_t kPresent = 1;
inline constexpr uint64_t kUserPage = uint64_t{1} << 2;
inline constexpr uint64_t kLargePage = uint64_t{1} << 7;
inline constexpr uint64_t kFrameMask = 0x000ffffffffff000;  // bits 51..12

struct Translation {
  Gpa address;         // of the byte asked for
  uint64_t remaining;  // bytes from there to the end of its page
  bool user;           // programs may read it, not the kernel alone
};

// read_u64(Gpa) -> std::optional<uint64_t>. cr3's low bits (PCID) are ignored. nullopt: not mapped, not readable or not
// canonical. At most five reads.
template <typename ReadU64>
std::optional<Translation> walk(ReadU64&& read_u64, uint64_t cr3, bool five_levels, Gva va) {
  const int top = five_levels ? 4 : 3;
  const int sign = five_levels ? 56 : 47;
  const auto high = static_cast<int64_t>(va.value) >> sign;
  if (high != 0 && high != -1) return std::nullopt;

  uint64_t table = cr3 & kFrameMask;
  bool user = true;  // each level has a say
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
