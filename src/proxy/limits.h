// What a proxy may use at most, unless the configuration says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace oboro::proxy {

inline constexpr size_t kDefaultMemory = 512 << 20, kLeastMemory = 64 << 20, kMostMemory = size_t{1} << 46;  // bytes
inline constexpr uint64_t kLeastDisk = 1 << 20, kMostDisk = uint64_t{1} << 46;  // bytes; default: no bound
inline constexpr size_t kDefaultFiles = 1024, kMostFiles = 1 << 18;  // files and sockets open at the same time

}  // namespace oboro::proxy
