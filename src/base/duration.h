// Times as people write them: "45s", "10m", "12h", "90d".
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace oboro {

// Seconds, at most kMaxDuration. Error: invalid.
inline constexpr uint64_t kMaxDuration = uint64_t{1000} * 366 * 86400;
inline Result<uint64_t> parse_duration(std::string_view text) {
  uint64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit = text.substr(static_cast<size_t>(rest - text.data()));
  const uint64_t factor = unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : unit == "d" ? 86400 : 0;
  if (error != std::errc() || factor == 0 || value > kMaxDuration / factor)
    return Error{Errc::invalid, "\"" + std::string(text) + "\" is not a time such as 45s, 10m, 12h or 90d"};
  return value * factor;
}

}  // namespace oboro
