#pragma once

#include <cstdint>
#include <time.h>

namespace oboro::steer {

// The host's monotonic clock, in nanoseconds.
inline uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace oboro::steer
