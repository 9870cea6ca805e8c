// The identity of a file for as long as it exists: over reboots, too, where its file system has a UUID.
#pragma once

#include <array>
#include <cstdint>

namespace oboro::labels {

struct FileIdentity {
  std::array<uint8_t, 16> uuid{};  // super_block.s_uuid; all zero: none
  uint32_t dev = 0;                // super_block.s_dev; counts only without UUID
  uint64_t inode = 0;              // inode.i_ino
  uint32_t generation = 0;         // inode.i_generation

  bool persistent() const { return uuid != std::array<uint8_t, 16>{}; }
  uint64_t hash() const;  // 64-bit digest; equal for equal identities
};

}  // namespace oboro::labels
