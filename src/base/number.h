// Numbers as text.
#pragma once

#include <charconv>
#include <string_view>
#include <system_error>

namespace oboro {

// True if all of `text` is one number that fits T: `out` has it then. Otherwise `out` stays as it is. No sign but '-',
// no spaces, no prefix such as 0x.
template <typename T>
[[nodiscard]] bool parse_number(std::string_view text, T& out, int base = 10) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  out = value;
  return true;
}

}  // namespace oboro
