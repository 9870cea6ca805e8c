#include "proxy/disk_reserve.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

int64_t DiskReserve::truncate(int fd, int64_t size) {
  struct statx now {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &now) != 0) return -errno;
  if (size > static_cast<int64_t>(now.stx_size) && !has_room(0)) return -ENOSPC;
  return ftruncate(fd, size) == 0 ? 0 : -errno;
}

int64_t DiskReserve::allocate(int fd, int64_t mode, int64_t offset, int64_t size) {
  const bool frees = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE);
  if (!frees && !has_room(static_cast<uint64_t>(std::max<int64_t>(size, 0)))) return -ENOSPC;
  return fallocate(fd, static_cast<int>(mode), offset, size) == 0 ? 0 : -errno;
}

}  // namespace oboro::proxy
