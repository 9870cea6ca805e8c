// Changing a kernel function's code so that it stops or goes elsewhere: x86-64's encodings.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "base/address.h"

namespace oboro::arch {

// The compiler left this at the entry of a function for ftrace (-mfentry): one NOP of five bytes.
inline constexpr size_t kNopSize = 5;
inline constexpr size_t kEntrySize = 9;  // what nop_offset() looks at
using SiteBytes = std::array<uint8_t, kNopSize>;

// Where in a function the NOP is: at the first byte, or behind an ENDBR64 or the bytes that the kernel seals one with.
// nullopt: the function begins in another way.
inline std::optional<unsigned> nop_offset(std::span<const std::byte> entry) {
  constexpr SiteBytes kNop = {0x0f, 0x1f, 0x44, 0x00, 0x00};
  // ENDBR64, and what apply_seal_endbr() of different kernels puts in its place (arch/x86/include/asm/ibt.h).
  constexpr std::array<uint8_t, 4> kBefore[] = {
      {0xf3, 0x0f, 0x1e, 0xfa}, {0x66, 0x0f, 0x1f, 0x00}, {0x0f, 0x1f, 0x40, 0xd6}};
  const auto starts_with = [](std::span<const std::byte> bytes, std::span<const uint8_t> what) {
    return bytes.size() >= what.size() && std::memcmp(bytes.data(), what.data(), what.size()) == 0;
  };
  if (starts_with(entry, kNop)) return 0;
  for (const auto& before : kBefore)
    if (starts_with(entry, before) && starts_with(entry.subspan(before.size()), kNop))
      return static_cast<unsigned>(before.size());
  return std::nullopt;
}

// JMP from the NOP at `nop` to `target`, which must be within reach.
inline SiteBytes jump_to(Gva nop, Gva target) {
  SiteBytes jump{0xe9};
  const auto distance = static_cast<uint32_t>(target.value - (nop.value + kNopSize));
  std::memcpy(jump.data() + 1, &distance, sizeof distance);
  return jump;
}

// OUT to a port: stops the vCPU there, and is never executed further.
inline SiteBytes trap(uint8_t port) { return {0xe6, port, 0x00, 0x00, 0x00}; }

}  // namespace oboro::arch
