// The last part of a disk, which hidden services do not get. Their files lie beside the journal: an attacker who takes
// a service over must not keep the journal from being written by filling the disk.
//
// Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "base/free_space.h"

namespace oboro::proxy {

class DiskReserve {
 public:
  // A twentieth of the file system stays free, or 256 MiB where that is more, but never more than a quarter of it; and
  // a twentieth of its inodes, if their number is fixed.
  static constexpr uint64_t kLeast = 256 << 20, kPart = 20, kMostPart = 4;

  // root: any descriptor on the file system; it outlives this. on: false, if all of the disk may be used.
  DiskReserve(int root, bool on);

  // Counts the room that a call is about to take. False: it would be a part of the reserve, so the call fails with
  // ENOSPC.
  bool has_room(uint64_t bytes, uint64_t files = 0);

 private:
  const int root_;
  const bool on_;
  std::mutex mutex_;
  FreeSpace space_;
};

}  // namespace oboro::proxy
