#include "labels/file_identity.h"

#include <cstring>

namespace oboro::labels {
namespace {

uint64_t mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15 + (hash << 6) + (hash >> 2);
  hash *= 0xff51afd7ed558ccd;
  return hash ^ (hash >> 32);
}

}  // namespace

uint64_t FileIdentity::hash() const {
  uint64_t words[2];
  std::memcpy(words, uuid.data(), sizeof words);
  uint64_t hash = mix(mix(0x0b0120, words[0]), words[1]);
  if (!persistent()) hash = mix(hash, dev);
  return mix(mix(hash, inode), generation);
}

}  // namespace oboro::labels
