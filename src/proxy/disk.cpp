#include "proxy/disk.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/call_result.h"

namespace oboro::proxy {
namespace {

// What is there already fails for that reason, on a full disk, too.
int64_t no_room_for(int directory, const char* name) {
  struct statx status {};
  return statx(directory, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status) == 0 ? -EEXIST : -ENOSPC;
}

}  // namespace

DiskQuota::Room Disk::room_for_file() {
  if (!reserve_.has_room(0, 1)) return {};
  return quota_->for_file();
}

int64_t Disk::write(int fd, std::span<const std::byte> data, int64_t offset) {
  if (!data.empty() && !reserve_.has_room(data.size())) return -ENOSPC;
  const auto room = quota_->for_bytes(fd, offset, data.size());
  if (!room) return -ENOSPC;
  const int64_t done =
      result(offset >= 0 ? pwrite(fd, data.data(), room.size(), offset) : ::write(fd, data.data(), room.size()));
  quota_->changed(fd, true);
  return done;
}

int64_t Disk::truncate(int fd, int64_t size) {
  struct statx now {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &now) != 0) return -errno;
  const bool grows = size > static_cast<int64_t>(now.stx_size);
  if (grows && !reserve_.has_room(0)) return -ENOSPC;
  const int64_t done = result(ftruncate(fd, size));
  quota_->changed(fd, grows);
  return done;
}

int64_t Disk::allocate(int fd, int64_t mode, int64_t offset, int64_t size) {
  const bool frees = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE);
  const auto bytes = static_cast<uint64_t>(std::max<int64_t>(size, 0));
  if (!frees && !reserve_.has_room(bytes)) return -ENOSPC;
  const auto room = quota_->for_bytes(fd, std::max<int64_t>(offset, 0), frees ? 0 : bytes);
  if (!frees && (!room || room.size() < bytes)) return -ENOSPC;
  const int64_t done = result(fallocate(fd, static_cast<int>(mode), offset, size));
  quota_->changed(fd);
  return done;
}

int64_t Disk::made(int result_of_call, int directory, const char* name) {
  const int64_t done = result(result_of_call);
  if (done < 0) return done;
  quota_->changed(directory, name);
  quota_->changed(directory);
  return done;
}

int64_t Disk::make_directory(int directory, const char* name, mode_t mode) {
  const auto room = room_for_file();
  return room ? made(mkdirat(directory, name, mode), directory, name) : no_room_for(directory, name);
}

int64_t Disk::make_symbolic_link(const char* target, int directory, const char* name) {
  const auto room = room_for_file();
  return room ? made(symlinkat(target, directory, name), directory, name) : no_room_for(directory, name);
}

int64_t Disk::link(int from, const char* from_name, int to, const char* to_name) {
  if (!reserve_.has_room(0)) return no_room_for(to, to_name);
  const auto room = quota_->for_file();  // a name may take a block of its directory
  return room ? made(linkat(from, from_name, to, to_name, 0), to, to_name) : no_room_for(to, to_name);
}

int64_t Disk::rename(int from, const char* from_name, int to, const char* to_name, unsigned flags) {
  const UniqueFd replaced = quota_->hold(to, to_name);
  // The C library's own function makes another system call when there are no flags.
  const int64_t done = result(syscall(SYS_renameat2, from, from_name, to, to_name, flags));
  quota_->gone(replaced);
  quota_->changed(to);
  return done;
}

int64_t Disk::unlink(int directory, const char* name, int flags) {
  const UniqueFd file = quota_->hold(directory, name);
  const int64_t done = result(unlinkat(directory, name, flags));
  quota_->gone(file);
  return done;
}

}  // namespace oboro::proxy
