#include "proxy/disk_reserve.h"

#include <algorithm>

namespace oboro::proxy {
namespace {

// For a block that is begun, and for what a file system notes about it.
constexpr uint64_t kPerCall = 8192;

FreeSpace::Kept kept(uint64_t bytes, uint64_t files) {
  return {std::min(std::max(DiskReserve::kLeast, bytes / DiskReserve::kPart), bytes / DiskReserve::kMostPart),
          files / DiskReserve::kPart};
}

}  // namespace

DiskReserve::DiskReserve(int root, bool on) : root_(root), on_(on), space_(kept) {}

bool DiskReserve::has_room(uint64_t bytes, uint64_t files) {
  if (!on_) return true;
  const std::lock_guard lock(mutex_);
  return space_.take(root_, kPerCall + std::clamp<uint64_t>(bytes, 1, UINT64_MAX - kPerCall), files);
}

}  // namespace oboro::proxy
