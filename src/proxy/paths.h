// Paths beneath a proxy's root. openat2(2) resolves each (files.h).
//
// Threads: any.
#pragma once

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "proxy/wire.h"

namespace oboro::proxy {

// The paths of one call: the directory in which they are resolved, and their results.
class Paths {
 public:
  explicit Paths(int root) : root_(root) {}

  // Copies a path to a C string. Returns the errno of a path that cannot be one; 0: none.
  static int check(std::string_view path, std::string& out) {
    if (path.empty()) return ENOENT;
    if (path.size() >= kMaxPath) return ENAMETOOLONG;
    if (path.find('\0') != std::string_view::npos) return EINVAL;
    out = path;
    return 0;
  }

  // A descriptor, or -errno in `error`.
  UniqueFd open(std::string_view path, uint64_t flags, uint64_t mode, int64_t& error) const {
    std::string text;
    if (const int wrong = check(path, text)) {
      error = -wrong;
      return {};
    }
    open_how how{};
    how.flags = flags | O_CLOEXEC | (flags & O_PATH ? 0U : static_cast<unsigned>(O_NOCTTY));
    how.mode = mode;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    for (int tries = 0;; ++tries) {
      const long fd = syscall(SYS_openat2, root_, text.c_str(), &how, sizeof how);
      if (fd >= 0) return UniqueFd(static_cast<int>(fd));
      // EAGAIN: a file was renamed meanwhile, so the kernel could not be sure.
      if ((errno == EAGAIN && tries < 100) || errno == EINTR) continue;
      error = -errno;
      return {};
    }
  }
  UniqueFd find(std::string_view path, bool follow, int64_t& error) const {
    return open(path, O_PATH | (follow ? 0U : static_cast<unsigned>(O_NOFOLLOW)), 0, error);
  }

  struct Place {
    UniqueFd directory;
    std::string name;
  };
  // The directory of a path's last name. special: the errno for a last name that is no name ("/", "..").
  Place parent(std::string_view path, int special, int64_t& error) const {
    std::string text;
    if (const int wrong = check(path, text)) {
      error = -wrong;
      return {};
    }
    while (text.size() > 1 && text.back() == '/') text.pop_back();
    const size_t slash = text.rfind('/');
    const bool directory_wanted = path.ends_with('/');
    Place place;
    place.name = slash == std::string::npos ? text : text.substr(slash + 1);
    if (place.name.empty() || place.name == "." || place.name == "..") {
      error = -special;
      return {};
    }
    const std::string directory = slash == std::string::npos || slash == 0 ? "/" : text.substr(0, slash);
    place.directory = open(directory, O_PATH | O_DIRECTORY, 0, error);
    // The kernel knows which names may end in a slash. None of the calls that take such a name follows a link there.
    if (directory_wanted) place.name += '/';
    return place;
  }

 private:
  int root_;
};

struct Kind {
  uint16_t type = 0;     // of st_mode; 0: the errno is in `error`
  int64_t identity = 0;  // one number for each file; a file that gets the inode of a deleted one has another number
};
// fstat(2) is another system call in each C library, and the filter lists every call.
inline Kind kind_of(int fd, int64_t& error) {
  constexpr uint64_t kSpread = 0x9e3779b97f4a7c15;
  struct statx status {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_BTIME, &status) != 0) {
    error = -errno;
    return {};
  }
  // One mount may have several devices: those of btrfs's subvolumes.
  const uint64_t device = uint64_t{status.stx_dev_major} << 32 | status.stx_dev_minor;
  const uint64_t birth = status.stx_mask & STATX_BTIME
                             ? static_cast<uint64_t>(status.stx_btime.tv_sec) * 1'000'000'000 + status.stx_btime.tv_nsec
                             : 0;
  return {static_cast<uint16_t>(status.stx_mode & S_IFMT),
          static_cast<int64_t>(status.stx_ino + (device + birth * kSpread) * kSpread)};
}

}  // namespace oboro::proxy
