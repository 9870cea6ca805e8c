#include "proxy/disk_reserve.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace oboro::proxy {
namespace {

// Of a block that is begun, and of what a file system notes about it.
constexpr uint64_t kPerCall = 8192;

uint64_t beyond(uint64_t free, uint64_t kept) { return free > kept ? free - kept : 0; }

}  // namespace

bool DiskReserve::has_room(uint64_t bytes, uint64_t files) {
  if (!on_) return true;
  const std::lock_guard lock(mutex_);
  const uint64_t wanted = kPerCall + std::clamp<uint64_t>(bytes, 1, UINT64_MAX - kPerCall);
  if (wanted > bytes_ || files > files_) {
    struct statfs now {};
    if (fstatfs(root_, &now) != 0) return false;
    const uint64_t block = static_cast<uint64_t>(now.f_frsize ? now.f_frsize : now.f_bsize);
    const uint64_t all = block * now.f_blocks;
    const uint64_t kept = std::min(std::max(kLeast, all / kPart), all / kMostPart);
    // Without a fixed number of inodes they take of the blocks.
    const bool fixed = now.f_files > 0;
    bytes_ = beyond(block * now.f_bavail, kept);
    files_ = fixed ? beyond(now.f_ffree, now.f_files / kPart) : kLookAfterFiles;
    if (wanted > bytes_ || files > files_) {
      bytes_ = files_ = 0;
      return false;
    }
    bytes_ = std::min(bytes_, std::max(wanted, kLookAfter));
    files_ = std::min(files_, kLookAfterFiles);
  }
  bytes_ -= wanted;
  files_ -= files;
  return true;
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
