// Bounds-checked reads from an untrusted byte range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace oboro::guest {

using Bytes = std::span<const std::byte>;

// The part [offset, offset + length) of bytes; nothing if it is not wholly inside.
inline std::optional<Bytes> slice(Bytes bytes, uint64_t offset, uint64_t length) {
  if (offset > bytes.size() || length > bytes.size() - offset) return std::nullopt;
  return bytes.subspan(offset, length);
}

// A little-endian integer at any alignment.
template <typename T>
std::optional<T> load(Bytes bytes, uint64_t offset) {
  static_assert(std::is_integral_v<T>);
  const auto part = slice(bytes, offset, sizeof(T));
  if (!part) return std::nullopt;
  T value;
  std::memcpy(&value, part->data(), sizeof(T));
  return value;
}

inline std::string_view as_text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

constexpr uint64_t align_up(uint64_t value, uint64_t alignment) { return (value + alignment - 1) & ~(alignment - 1); }

}  // namespace oboro::guest
