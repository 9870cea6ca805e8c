// One step of strict UTF-8 decoding. Names in a guest are bytes, and may be anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace oboro {

struct Utf8Step {
  char32_t code_point = 0;
  size_t length = 0;  // bytes; 0: the byte here is not part of valid UTF-8
};

// text must not be empty. Refuses overlong forms, surrogates and code points above U+10FFFF.
constexpr Utf8Step utf8_step(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {};
  char32_t value = lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3fu);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return {};
  return {value, length};
}

// Whether a code point must not reach a terminal, or a reader's eye, as it is: controls (C0, DEL, C1), line and
// paragraph separators, and marks that change the direction of text or show nothing.
constexpr bool is_deceptive(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
         (c >= 0xe0000 && c <= 0xe0fff);
}

}  // namespace oboro
