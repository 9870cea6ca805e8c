// Sizes as people write them: "512M", "4G".
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace oboro {

// A number of bytes, with or without K, M, G or T behind it (powers of 1024). Error: invalid.
inline Result<uint64_t> parse_size(std::string_view text) {
  uint64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit = text.substr(static_cast<size_t>(rest - text.data()));
  constexpr std::string_view kUnits = "KMGT";
  const size_t power = unit.empty() ? 0 : kUnits.find(static_cast<char>(unit.front() & ~0x20)) + 1;
  if (error != std::errc() || unit.size() > 1 || (power == 0 && !unit.empty()) || value > (UINT64_MAX >> (power * 10)))
    return Error{Errc::invalid, "\"" + std::string(text) + "\" is not a size such as 512M or 4G"};
  return value << (power * 10);
}

}  // namespace oboro
