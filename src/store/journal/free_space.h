// How much of its disk the journal leaves to others.
#pragma once

#include <algorithm>

#include "base/free_space.h"

namespace oboro::store {

// A hundredth of the disk stays free, 256 MiB at most: a guest that makes the tracer write without end must not take
// all of it from the host.
inline FreeSpace journal_space() {
  return FreeSpace([](uint64_t bytes, uint64_t) {
    constexpr uint64_t kKeptPart = 100, kKeptMost = 256 << 20;
    return FreeSpace::Kept{std::min(bytes / kKeptPart, kKeptMost), 0};
  });
}

// Three hundredths, 768 MiB at most, of the events for which no room is kept (event::Room): when these must stop, there
// is still some for the others, of all guests on this file system.
inline FreeSpace shared_journal_space() {
  return FreeSpace([](uint64_t bytes, uint64_t) {
    constexpr uint64_t kKeptPart = 33, kKeptMost = 768 << 20;
    return FreeSpace::Kept{std::min(bytes / kKeptPart, kKeptMost), 0};
  });
}

}  // namespace oboro::store
