#include "proxy/files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "proxy/bytes.h"
#include "proxy/call_result.h"
#include "proxy/owners.h"
#include "proxy/paths.h"

namespace oboro::proxy {
namespace {

constexpr int64_t kOpenFlags = O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_NONBLOCK | O_DIRECTORY |
                               O_NOFOLLOW | O_DSYNC | O_SYNC | O_NOATIME | O_TMPFILE;
constexpr mode_t kModes = 01777;  // no set-user-ID: nothing here is executed

// The kind of a descriptor that was just opened. A service gets nothing that blocks or acts.
std::shared_ptr<Handle> handle_of(UniqueFd fd, bool links, int64_t& identity, int64_t& error) {
  const auto [type, which] = kind_of(fd.get(), error);
  identity = which;
  if (!type) return nullptr;
  if (type != S_IFREG && type != S_IFDIR && !(links && type == S_IFLNK)) {
    error = -ENXIO;
    return nullptr;
  }
  const auto kind = type == S_IFDIR ? Handle::Kind::directory : Handle::Kind::file;
  return std::make_shared<Handle>(kind, std::move(fd));
}

// One call. Its steps are members, because all of them need the same four things.
class Execution {
 public:
  Execution(int root, Handles& handles, Disk& disk, const Frame& call)
      : call_(call), handles_(handles), disk_(disk), root_(root), paths_(root) {}

  Done run() {
    out_.result = dispatch();
    if (out_.result < 0) {
      out_.first.clear();
      out_.second.clear();
    }
    return std::move(out_);
  }

 private:
  int64_t argument(size_t i) const { return call_.arguments[i]; }
  static int64_t result(long value) { return value < 0 ? failed() : value; }

  int64_t dispatch() {
    switch (call_.op) {
      case Op::open:
        return open();
      case Op::close:
        return handles_.take(call_.handle) ? 0 : -EBADF;
      case Op::read:
        return read();
      case Op::write:
        return write();
      case Op::lseek:
        return with_handle([&](Handle& h) {
          return result(lseek(h.fd.get(), argument(0), static_cast<int>(std::clamp<int64_t>(argument(1), -1, 100))));
        });
      case Op::statx:
        return statx_call();
      case Op::statfs:
        return statfs_call();
      case Op::access:
        return access_call();
      case Op::truncate:
        return for_writing([&](int fd) { return disk_.truncate(fd, argument(0)); });
      case Op::fallocate:
        return with_handle(
            [&](Handle& h) { return disk_.allocate(h.fd.get(), argument(0), argument(1), argument(2)); });
      case Op::fsync:
        return with_handle([&](Handle& h) { return result(argument(0) ? fdatasync(h.fd.get()) : fsync(h.fd.get())); });
      case Op::flock:
        return with_handle(
            [&](Handle& h) { return result(::flock(h.fd.get(), static_cast<int>(argument(0) & 0xf) | LOCK_NB)); });
      case Op::rename:
        return rename_call();
      case Op::link:
        return link_call();
      case Op::unlink:
        return in_directory(call_.text(), argument(0) ? EINVAL : EISDIR, [&](int directory, const char* name) {
          return disk_.unlink(directory, name, argument(0) ? AT_REMOVEDIR : 0);
        });
      case Op::mkdir:
        return in_directory(call_.text(), EEXIST, [&](int directory, const char* name) {
          return disk_.make_directory(directory, name, static_cast<mode_t>(argument(0)) & kModes);
        });
      case Op::symlink:
        return symlink_call();
      case Op::readlink:
        return readlink_call();
      case Op::chmod:
        return any_descriptor([&](int fd) { return change_mode(fd); });
      case Op::chown:
        return chown_call();
      case Op::utimens:
        return utimens_call();
      case Op::getdents:
        return getdents_call();
      case Op::setfl:
        return setfl();
      default:
        return -ENOSYS;
    }
  }

  template <typename Function>
  int64_t with_handle(Function function) {
    const std::shared_ptr<Handle> handle = handles_.find(call_.handle);
    if (!handle) return -EBADF;
    // All epoll instances of a host have one inode. A service must not change that.
    return handle->kind == Handle::Kind::epoll ? -EINVAL : function(*handle);
  }
  // Calls the function with the file of the handle, or with the file at the end of the path.
  template <typename Function>
  int64_t by_handle_or_path(bool follow, Function function) {
    if (call_.handle) return with_handle([&](Handle& h) { return function(h.fd.get()); });
    int64_t error = 0;
    const UniqueFd fd = paths_.find(call_.text(), follow, error);
    return fd ? function(fd.get()) : error;
  }
  // The same with a descriptor that can do more than one of O_PATH, for calls that the kernel makes by no other.
  template <typename Function>
  int64_t any_descriptor(Function function) {
    if (call_.handle) return with_handle([&](Handle& h) { return function(h.fd.get()); });
    int64_t error = 0;
    UniqueFd fd = paths_.open(call_.text(), O_RDONLY | O_NONBLOCK, 0, error);
    if (!fd && error == -EACCES) {
      int64_t other = 0;  // EISDIR for a directory: that says nothing about the call
      fd = paths_.open(call_.text(), O_WRONLY | O_NONBLOCK, 0, other);
    }
    return fd ? function(fd.get()) : error;
  }
  template <typename Function>
  int64_t for_writing(Function function) {
    if (call_.handle) return with_handle([&](Handle& h) { return function(h.fd.get()); });
    int64_t error = 0;
    const UniqueFd fd = paths_.open(call_.text(), O_WRONLY | O_NONBLOCK, 0, error);
    return fd ? function(fd.get()) : error;
  }
  template <typename Function>
  int64_t in_directory(std::string_view path, int special, Function function) {
    int64_t error = 0;
    const Paths::Place place = paths_.parent(path, special, error);
    return place.directory ? function(place.directory.get(), place.name.c_str()) : error;
  }

  int64_t open() {
    int64_t error = 0;
    // O_PATH: a descriptor that only stands for its file, which may be a link. The kernel takes few other flags with
    // it.
    const bool stands_only = argument(0) & O_PATH;
    const int64_t flags = stands_only ? argument(0) & (O_PATH | O_DIRECTORY | O_NOFOLLOW) : argument(0) & kOpenFlags;
    const bool nameless = !stands_only && (flags & O_TMPFILE) == O_TMPFILE;
    // It could not be given a name later, because that takes a right that a proxy does not have. A file system without
    // such files says so, too.
    if (nameless && !(flags & O_EXCL)) return -EOPNOTSUPP;
    const bool creates = nameless || (!stands_only && flags & O_CREAT);
    UniqueFd fd;
    const DiskQuota::Room room = creates ? disk_.room_for_file() : DiskQuota::Room();
    if (creates && !room)
      fd = nameless ? UniqueFd() : open_what_is_there(flags, error);
    else
      fd = paths_.open(call_.text(), static_cast<uint64_t>(flags) | (stands_only ? 0 : O_NONBLOCK),
                       creates ? static_cast<uint64_t>(argument(1)) & kModes : 0, error);
    if (!fd) return error ? error : -ENOSPC;
    const std::shared_ptr<Handle> handle = handle_of(std::move(fd), stands_only, out_.extra, error);
    if (!handle) return error;
    handle->nonblocking = flags & O_NONBLOCK;
    handle->counted = disk_.quota().opened(handle->fd.get(), !stands_only && flags & O_TRUNC);
    if (creates && !nameless && disk_.quota().on())
      if (const Paths::Place place = paths_.parent(call_.text(), EISDIR, error); place.directory)
        disk_.quota().changed(place.directory.get());
    const uint32_t number = handles_.add(handle);
    return number ? int64_t{number} : -ENFILE;
  }

  // On a disk without room for one more file, a file that is there may still be opened: that makes none.
  UniqueFd open_what_is_there(int64_t flags, int64_t& error) {
    const bool must_be_new = flags & O_EXCL;
    UniqueFd fd = must_be_new
                      ? paths_.find(call_.text(), false, error)
                      : paths_.open(call_.text(), static_cast<uint64_t>(flags & ~O_CREAT) | O_NONBLOCK, 0, error);
    if (fd && must_be_new) error = -EEXIST;
    if (error == -ENOENT) {
      error = -ENOSPC;
      (void)paths_.parent(call_.text(), EISDIR, error);  // or its directory is not there either
    }
    return error ? UniqueFd() : std::move(fd);
  }

  int64_t read() {
    return with_handle([&](Handle& h) -> int64_t {
      if (argument(0) < 0 || argument(1) < -1) return -EINVAL;
      const auto room = scratch(argument(0));
      return filled(room, argument(1) >= 0 ? pread(h.fd.get(), room.data(), room.size(), argument(1))
                                           : ::read(h.fd.get(), room.data(), room.size()));
    });
  }

  // Room to read into. It is not the answer's own: an answer counts by its size, and may have to wait.
  static std::span<std::byte> scratch(int64_t wanted) {
    thread_local std::vector<std::byte> room(kMaxData);
    return std::span(room).first(static_cast<size_t>(std::min<int64_t>(wanted, kMaxData)));
  }
  int64_t filled(std::span<const std::byte> room, long got) {
    if (got > 0) out_.first.assign(room.begin(), room.begin() + got);
    return result(got);
  }

  int64_t write() {
    return with_handle([&](Handle& h) -> int64_t {
      if (argument(0) < -1) return -EINVAL;
      return disk_.write(h.fd.get(), call_.first, argument(0));
    });
  }

  int64_t statx_call() {
    return by_handle_or_path(argument(0), [&](int fd) -> int64_t {
      struct statx status {};
      if (statx(fd, "", AT_EMPTY_PATH, STATX_ALL, &status) != 0) return failed();
      // It has no owner by the host's numbers. The attributes of an O_PATH descriptor can only be read by its path.
      const Owner owner = owner_of_path(fd);
      status.stx_uid = owner.uid;
      status.stx_gid = owner.gid;
      put(out_.first, &status, sizeof status);
      return 0;
    });
  }
  Owner owner_of_path(int fd) {
    if (call_.handle) return read_owner(fd);
    int64_t error = 0;
    const UniqueFd readable =
        paths_.open(call_.text(), O_RDONLY | O_NONBLOCK | (argument(0) ? 0U : O_NOFOLLOW), 0, error);
    return readable ? read_owner(readable.get()) : Owner{};
  }

  int64_t statfs_call() {
    return by_handle_or_path(true, [&](int fd) -> int64_t {
      struct statfs status {};
      if (fstatfs(fd, &status) != 0) return failed();
      disk_.quota().cut(status);
      put(out_.first, &status, sizeof status);
      return 0;
    });
  }

  int64_t access_call() {
    return by_handle_or_path(argument(1), [&](int fd) {
      return result(syscall(SYS_faccessat2, fd, "", static_cast<int>(argument(0)), AT_EMPTY_PATH | AT_EACCESS));
    });
  }

  int64_t rename_call() {
    constexpr int64_t kFlags = RENAME_NOREPLACE | RENAME_EXCHANGE;
    if (argument(0) & ~kFlags) return -EINVAL;
    return in_directory(call_.text(), EBUSY, [&](int from, const char* from_name) {
      return in_directory(call_.second_text(), EBUSY, [&](int to, const char* to_name) {
        return disk_.rename(from, from_name, to, to_name, static_cast<unsigned>(argument(0)));
      });
    });
  }

  // linkat(2) must not follow links, because it knows no root. So links at the end of the old path are followed here.
  // Its AT_EMPTY_PATH takes a right that a proxy does not have: instead, the path of a handle is tried, if it still
  // leads to the file.
  int64_t link_call() {
    constexpr int kMostLinks = 40;
    std::string old(call_.text());
    for (int links = 0;; ++links) {
      int64_t error = 0;
      const UniqueFd fd = paths_.find(old, false, error);
      const Kind kind = fd ? kind_of(fd.get(), error) : Kind{};
      if (!kind.type) return error;
      if (call_.handle) {
        const auto handle = handles_.find(call_.handle);
        if (!handle) return -EBADF;
        if (kind_of(handle->fd.get(), error).identity != kind.identity) return -ENOENT;
      }
      if (!argument(0) || kind.type != S_IFLNK) break;
      if (links == kMostLinks) return -ELOOP;
      char target[kMaxPath];
      const ssize_t size = readlinkat(fd.get(), "", target, sizeof target);
      if (size <= 0) return size < 0 ? failed() : -ENOENT;
      const std::string_view text(target, static_cast<size_t>(size));
      old = text.front() == '/' ? std::string(text) : old.substr(0, old.rfind('/') + 1).append(text);
    }
    // The kernel would follow a name that ends in a slash.
    if (old.ends_with('/')) return -EPERM;
    return in_directory(old, EPERM, [&](int from, const char* from_name) {
      return in_directory(call_.second_text(), EEXIST,
                          [&](int to, const char* to_name) { return disk_.link(from, from_name, to, to_name); });
    });
  }

  int64_t symlink_call() {
    std::string target;
    if (const int wrong = Paths::check(call_.text(), target)) return -wrong;
    return in_directory(call_.second_text(), EEXIST, [&](int directory, const char* name) {
      return disk_.make_symbolic_link(target.c_str(), directory, name);
    });
  }

  int64_t readlink_call() {
    return by_handle_or_path(false, [&](int fd) -> int64_t {
      char target[kMaxPath];
      const ssize_t size = readlinkat(fd, "", target, sizeof target);
      // If it is no link, the kernel would have refused the path itself.
      if (size < 0) return errno == ENOENT && !call_.handle ? -EINVAL : failed();
      const auto bytes = bytes_of({target, static_cast<size_t>(size)});
      out_.first.assign(bytes.begin(), bytes.end());
      return size;
    });
  }

  int64_t change_mode(int fd) {
    int64_t error = 0;
    mode_t mode = static_cast<mode_t>(argument(0)) & kModes;
    // A root that is closed to this process could not be opened again, and a link may have led the service to it.
    const int64_t identity = kind_of(fd, error).identity;
    if (!error && identity == kind_of(root_, error).identity) mode |= S_IRWXU;
    return error ? error : result(fchmod(fd, mode));
  }

  int64_t chown_call() {
    if (!call_.handle && !argument(2)) {
      int64_t error = 0;
      const UniqueFd fd = paths_.find(call_.text(), false, error);
      const uint16_t type = fd ? kind_of(fd.get(), error).type : uint16_t{0};
      if (!type) return error;
      // A link has no such attributes, so its owner is always root.
      if (type == S_IFLNK) return argument(0) <= 0 && argument(1) <= 0 ? 0 : -EPERM;
    }
    if (!disk_.has_room_for_attribute()) return -ENOSPC;
    return any_descriptor([&](int fd) {
      const int64_t done = write_owner(fd, argument(0), argument(1));
      disk_.quota().changed(fd, true);
      return done;
    });
  }

  int64_t utimens_call() {
    timespec times[2];
    if (!call_.second.empty() && call_.second.size() != sizeof times) return -EINVAL;
    if (!call_.second.empty()) std::memcpy(times, call_.second.data(), sizeof times);
    const timespec* wanted = call_.second.empty() ? nullptr : times;
    return by_handle_or_path(argument(0), [&](int fd) {
      return result(syscall(SYS_utimensat, fd, call_.handle ? nullptr : "", wanted, call_.handle ? 0 : AT_EMPTY_PATH));
    });
  }

  int64_t getdents_call() {
    return with_handle([&](Handle& h) -> int64_t {
      if (argument(0) < 0) return -EINVAL;
      const auto room = scratch(argument(0));
      return filled(room, syscall(SYS_getdents64, h.fd.get(), room.data(), room.size()));
    });
  }

  int64_t setfl() {
    return with_handle([&](Handle& h) -> int64_t {
      h.nonblocking = argument(0) & O_NONBLOCK;
      if (h.kind == Handle::Kind::socket) return 0;
      const int now = fcntl(h.fd.get(), F_GETFL);
      if (now < 0) return failed();
      return result(fcntl(h.fd.get(), F_SETFL, (now & ~O_APPEND) | (argument(0) & O_APPEND ? O_APPEND : 0)));
    });
  }

  const Frame& call_;
  Handles& handles_;
  Disk& disk_;
  const int root_;
  Paths paths_;
  Done out_;
};

}  // namespace

Done Files::execute(const Frame& call) { return Execution(root_.get(), handles_, disk_, call).run(); }

}  // namespace oboro::proxy
