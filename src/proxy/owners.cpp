#include "proxy/owners.h"

#include <cerrno>
#include <charconv>
#include <fmt/format.h>
#include <limits>
#include <string>
#include <sys/xattr.h>

namespace oboro::proxy {
namespace {

constexpr char kOwner[] = "user.oboro.owner";

}  // namespace

Owner read_owner(int fd) {
  char text[32];
  Owner owner;
  const ssize_t size = fgetxattr(fd, kOwner, text, sizeof text);
  if (size <= 0) return owner;
  const char* end = text + size;
  const auto first = std::from_chars(text, end, owner.uid);
  if (first.ec == std::errc() && first.ptr < end) std::from_chars(first.ptr + 1, end, owner.gid);
  return owner;
}

int64_t write_owner(int fd, int64_t uid, int64_t gid) {
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
  if (uid < -1 || gid < -1 || uid > kMost || gid > kMost) return -EINVAL;
  Owner owner = read_owner(fd);
  if (uid >= 0 && uid != kMost) owner.uid = static_cast<uint32_t>(uid);
  if (gid >= 0 && gid != kMost) owner.gid = static_cast<uint32_t>(gid);
  const std::string text = fmt::format("{}:{}", owner.uid, owner.gid);
  if (fsetxattr(fd, kOwner, text.data(), text.size(), 0) == 0) return 0;
  // A file system without such attributes: all files belong to root, and may.
  return errno == EOPNOTSUPP && owner.uid == 0 && owner.gid == 0 ? 0 : errno == EOPNOTSUPP ? -EPERM : -errno;
}

}  // namespace oboro::proxy
