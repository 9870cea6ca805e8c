// Structures in the parts of a frame. The parts have no alignment.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace oboro::proxy {

// False: there are too few bytes.
template <typename T>
bool read_as(std::span<const std::byte> bytes, T& out) {
  if (bytes.size() < sizeof out) return false;
  std::memcpy(&out, bytes.data(), sizeof out);
  return true;
}

template <typename T>
void put(std::vector<std::byte>& out, const T* value, size_t size) {
  out.resize(size);
  if (size) std::memcpy(out.data(), value, size);
}

}  // namespace oboro::proxy
