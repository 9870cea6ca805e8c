// Calls with paths: hidden paths go to the proxy, all others are the guest kernel's.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "hiding/calls/calls.h"

namespace oboro::hiding {

using guest::Field;
using proxy::bytes_of;
using proxy::Op;

namespace {

uint32_t umask_of(Thread& thread) {
  guest::Reader r(thread.kernel());
  return r.get<uint32_t>(r.pointer(thread.task().at, Field::task_fs), Field::fs_struct_umask) & 0777;
}

Routine<Outcome> open_at(Thread& thread, PathArgument path, uint64_t flags, uint64_t mode) {
  if (path.error) co_return answer(path.error);
  if (!path.hidden) co_return Outcome{};
  mode &= ~uint64_t{umask_of(thread)};
  const Answer got = co_await thread.ask(path_frame(Op::open, path.path, {s(flags), s(mode)}));
  report_path(thread, path.path,
              {.operation = "open", .access = (flags & O_ACCMODE) == O_RDONLY ? "reading" : "writing"},
              std::min<int64_t>(got.result(), 0));
  if (got.result() < 0) co_return answer(got.result());
  auto file = thread.open_file(got);
  file->path = path.path;
  file->identity = static_cast<uint64_t>(got.frame.arguments[1]);
  file->flags = static_cast<uint32_t>(flags) & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC);
  if (!(flags & (O_DIRECTORY | O_PATH))) classify(thread, *file);
  co_return answer(co_await thread.reserve(std::move(file), flags & O_CLOEXEC));
}

Routine<Outcome> open_path(Thread& thread, int directory, uint64_t user, uint64_t flags, uint64_t mode) {
  PathArgument path = co_await path_argument(thread, directory, user);
  co_return co_await open_at(thread, std::move(path), flags, mode);
}

Routine<Outcome> open_call(Thread& t, SystemCall c) { return open_path(t, kHere, c.a[0], c.a[1], c.a[2]); }
Routine<Outcome> creat_call(Thread& t, SystemCall c) {
  return open_path(t, kHere, c.a[0], O_CREAT | O_WRONLY | O_TRUNC, c.a[1]);
}
Routine<Outcome> openat_call(Thread& t, SystemCall c) { return open_path(t, c.descriptor(0), c.a[1], c.a[2], c.a[3]); }
Routine<Outcome> openat2_call(Thread& thread, SystemCall call) {
  // As copy_struct_from_user() (include/linux/uaccess.h): members that a later kernel's structure adds must be zero.
  constexpr uint64_t kLargest = 4096;
  open_how how{};
  if (call.a[3] < sizeof how) co_return answer(-EINVAL);
  if (call.a[3] > kLargest) co_return answer(-E2BIG);
  std::vector<std::byte> given(call.a[3]);
  if (const int64_t wrong = co_await thread.copy_in(call.a[2], given)) co_return answer(wrong);
  if (std::any_of(given.begin() + sizeof how, given.end(), [](std::byte b) { return b != std::byte{0}; }))
    co_return answer(-E2BIG);
  std::memcpy(&how, given.data(), sizeof how);
  PathArgument path = co_await path_argument(thread, call.descriptor(0), call.a[1]);
  if (path.error || !path.hidden) co_return path.error ? answer(path.error) : Outcome{};
  constexpr uint64_t kKnown = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC |
                              O_SYNC | O_ASYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |
                              O_CLOEXEC | O_PATH | O_TMPFILE | 0100000;
  constexpr uint64_t kHarmless =
      RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;  // the proxy resolves paths in this way in any case
  if ((how.flags & ~kKnown) || (how.mode & ~uint64_t{07777}) || (how.mode && !(how.flags & (O_CREAT | O_TMPFILE))))
    co_return answer(-EINVAL);
  if (how.resolve & ~kHarmless) co_return answer(refuse(thread, path.path, "openat2 with resolve flags", -EOPNOTSUPP));
  co_return co_await open_at(thread, std::move(path), how.flags, how.mode);
}

Routine<Outcome> invalid(Thread&, SystemCall) { co_return answer(-EINVAL); }

// stat, lstat, newfstatat, statx.
Routine<Outcome> stat_path(Thread& thread, int directory, uint64_t user, uint64_t flags, uint64_t to, bool extended) {
  constexpr uint64_t kKnown = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
  if ((flags & ~kKnown) || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE)
    co_return Outcome{};  // so that the kernel says what is wrong
  if (flags & AT_EMPTY_PATH) {
    // Even without AT_EMPTY_PATH an empty path means the descriptor here.
    if (const auto file = thread.descriptors->find(static_cast<uint32_t>(directory))) {
      char first = 0;
      if (user)
        if (const int64_t wrong = co_await thread.copy_in(user, std::as_writable_bytes(std::span(&first, 1))))
          co_return answer(wrong);
      if (!first) co_return co_await stat_to_user(thread, frame_of(Op::statx, *file), to, extended);
    }
  }
  const PathArgument path = co_await path_argument(thread, directory, user,
                                                   flags & AT_SYMLINK_NOFOLLOW ? Links::themselves : Links::followed);
  if (path.error) co_return answer(path.error);
  if (!path.hidden) co_return Outcome{};
  co_return co_await stat_to_user(thread, path_frame(Op::statx, path.path, {!(flags & AT_SYMLINK_NOFOLLOW)}), to,
                                  extended);
}
Routine<Outcome> stat_call(Thread& t, SystemCall c) { return stat_path(t, kHere, c.a[0], 0, c.a[1], false); }
Routine<Outcome> lstat_call(Thread& t, SystemCall c) {
  return stat_path(t, kHere, c.a[0], AT_SYMLINK_NOFOLLOW, c.a[1], false);
}
Routine<Outcome> newfstatat_call(Thread& t, SystemCall c) {
  return stat_path(t, c.descriptor(0), c.a[1], c.a[3], c.a[2], false);
}
Routine<Outcome> statx_call(Thread& t, SystemCall c) {
  if (c.a[3] & STATX__RESERVED) return invalid(t, c);
  return stat_path(t, c.descriptor(0), c.a[1], c.a[2], c.a[4], true);
}

Routine<Outcome> statfs_call(Thread& thread, SystemCall call) {
  const PathArgument path = co_await path_argument(thread, kHere, call.a[0]);
  if (path.error) co_return answer(path.error);
  if (!path.hidden) co_return Outcome{};
  const Answer got = co_await thread.ask(path_frame(Op::statfs, path.path));
  if (got.result() < 0) co_return answer(got.result());
  if (got.frame.first.size() != sizeof(struct statfs)) co_return answer(-EIO);
  co_return answer(co_await thread.copy_out(call.a[1], got.frame.first));
}

Routine<Outcome> readlink_path(Thread& thread, int directory, uint64_t user, uint64_t to, uint64_t size) {
  const PathArgument path = co_await path_argument(thread, directory, user, Links::themselves);
  if (path.error) co_return answer(path.error);
  const auto file = path.empty ? thread.descriptors->find(path_descriptor(directory)) : nullptr;
  if (!path.hidden && !file && !path.link) co_return Outcome{};
  if (static_cast<int32_t>(size) <= 0) co_return answer(-EINVAL);
  if (path.link) {
    const auto name = proxy::bytes_of(path.link->path);
    const auto fits = name.first(std::min<size_t>(name.size(), size));
    const int64_t wrong = co_await thread.copy_out(to, fits);
    co_return answer(wrong ? wrong : s(fits.size()));
  }
  // Not both in one expression: GCC 12 evaluates both branches where one is awaited.
  ProxyCall frame = path_frame(Op::readlink, path.path);
  if (file) frame = frame_of(Op::readlink, *file);
  const Answer got = co_await thread.ask(frame);
  if (got.result() < 0) co_return answer(got.result());
  const auto bytes = got.frame.first.first(std::min<size_t>(got.frame.first.size(), size));
  const int64_t wrong = co_await thread.copy_out(to, bytes);
  co_return answer(wrong ? wrong : s(bytes.size()));
}
Routine<Outcome> readlink_call(Thread& t, SystemCall c) { return readlink_path(t, kHere, c.a[0], c.a[1], c.a[2]); }
Routine<Outcome> readlinkat_call(Thread& t, SystemCall c) {
  return readlink_path(t, c.descriptor(0), c.a[1], c.a[2], c.a[3]);
}

Routine<Outcome> access_call(Thread& t, SystemCall c) {
  return on_path(t, kHere, c.a[0], Op::access, {s(c.a[1]), 1}, nullptr);
}
Routine<Outcome> faccessat_call(Thread& t, SystemCall c) {
  const uint64_t flags = c.number == sys::faccessat ? 0 : c.a[3];
  return on_path(t, c.descriptor(0), c.a[1], Op::access, {s(c.a[2]), !(flags & AT_SYMLINK_NOFOLLOW)}, nullptr,
                 flags & AT_EMPTY_PATH);
}
Routine<Outcome> truncate_call(Thread& t, SystemCall c) {
  return on_path(t, kHere, c.a[0], Op::truncate, {s(c.a[1])}, "truncate");
}
Routine<Outcome> mkdir_call(Thread& t, SystemCall c) {
  return on_path(t, kHere, c.a[0], Op::mkdir, {s(c.a[1] & ~uint64_t{umask_of(t)})}, "mkdir");
}
Routine<Outcome> mkdirat_call(Thread& t, SystemCall c) {
  return on_path(t, c.descriptor(0), c.a[1], Op::mkdir, {s(c.a[2] & ~uint64_t{umask_of(t)})}, "mkdir");
}
Routine<Outcome> rmdir_call(Thread& t, SystemCall c) { return on_path(t, kHere, c.a[0], Op::unlink, {1}, "rmdir"); }
Routine<Outcome> unlink_call(Thread& t, SystemCall c) { return on_path(t, kHere, c.a[0], Op::unlink, {0}, "unlink"); }
Routine<Outcome> unlinkat_call(Thread& t, SystemCall c) {
  if (c.a[2] & ~uint64_t{AT_REMOVEDIR}) return invalid(t, c);
  const bool directory = c.a[2] & AT_REMOVEDIR;
  return on_path(t, c.descriptor(0), c.a[1], Op::unlink, {directory}, directory ? "rmdir" : "unlink");
}
Routine<Outcome> chmod_call(Thread& t, SystemCall c) {
  return on_path(t, kHere, c.a[0], Op::chmod, {s(c.a[1])}, "chmod");
}
Routine<Outcome> fchmodat_call(Thread& t, SystemCall c) {
  return on_path(t, c.descriptor(0), c.a[1], Op::chmod, {s(c.a[2])}, "chmod",
                 c.number != sys::fchmodat && c.a[3] & AT_EMPTY_PATH);
}
int64_t id(uint64_t value) { return static_cast<int32_t>(value); }
Routine<Outcome> chown_call(Thread& t, SystemCall c) {
  return on_path(t, kHere, c.a[0], Op::chown, {id(c.a[1]), id(c.a[2]), c.number == sys::chown}, "chown");
}
Routine<Outcome> fchownat_call(Thread& t, SystemCall c) {
  return on_path(t, c.descriptor(0), c.a[1], Op::chown, {id(c.a[2]), id(c.a[3]), !(c.a[4] & AT_SYMLINK_NOFOLLOW)},
                 "chown", c.a[4] & AT_EMPTY_PATH);
}

// --- two paths

// rename, link: both paths are hidden, or neither is.
Routine<Outcome> on_two_paths(Thread& thread, int from_directory, uint64_t from_user, int to_directory,
                              uint64_t to_user, Op op, int64_t flags, const char* what, bool may_be_empty = false) {
  PathArgument from = co_await path_argument(thread, from_directory, from_user,
                                             op == Op::link && flags ? Links::followed : Links::themselves);
  if (from.error) co_return answer(from.error);
  const PathArgument to = co_await path_argument(thread, to_directory, to_user, Links::themselves);
  if (to.error) co_return answer(to.error);
  const auto file = from.empty && may_be_empty ? thread.descriptors->find(path_descriptor(from_directory)) : nullptr;
  if (file) {
    from.path = file->path;
    from.hidden = true;
  }
  if (from.nowhere || to.nowhere || (!from.hidden && !to.hidden)) co_return Outcome{};
  if (from.hidden != to.hidden)  // as between two file systems
    co_return answer(
        refuse(thread, from.hidden ? from.path : to.path, fmt::format("{} to or from elsewhere", what), -EXDEV));
  if (op == Op::rename && (from.dots || to.dots)) co_return answer(-EBUSY);
  co_await classify_before_renaming(thread, from.path, to.path);
  if (op == Op::rename && flags & RENAME_EXCHANGE) co_await classify_before_renaming(thread, to.path, from.path);
  ProxyCall frame = path_frame(op, from.path, {flags});
  frame.second = bytes_of(to.path);
  if (file) {
    frame.handle = file->handle;
    frame.of = file->proxy;
  }
  const Answer got = co_await thread.ask(frame);
  report_path(thread, to.path, {.operation = what, .other = from.path}, got.result());
  co_return answer(got.result());
}
Routine<Outcome> rename_call(Thread& t, SystemCall c) {
  return on_two_paths(t, kHere, c.a[0], kHere, c.a[1], Op::rename, 0, "rename");
}
Routine<Outcome> renameat_call(Thread& t, SystemCall c) {
  const int64_t flags = c.number == sys::renameat2 ? s(c.a[4]) : 0;
  return on_two_paths(t, c.descriptor(0), c.a[1], c.descriptor(2), c.a[3], Op::rename, flags, "rename");
}
Routine<Outcome> link_call(Thread& t, SystemCall c) {
  return on_two_paths(t, kHere, c.a[0], kHere, c.a[1], Op::link, 0, "link");
}
Routine<Outcome> linkat_call(Thread& t, SystemCall c) {
  if (c.a[4] & ~uint64_t{AT_SYMLINK_FOLLOW | AT_EMPTY_PATH}) return invalid(t, c);
  return on_two_paths(t, c.descriptor(0), c.a[1], c.descriptor(2), c.a[3], Op::link, (c.a[4] & AT_SYMLINK_FOLLOW) != 0,
                      "link", c.a[4] & AT_EMPTY_PATH);
}
Routine<Outcome> symlink_at(Thread& thread, uint64_t target_user, int directory, uint64_t user) {
  const PathArgument path = co_await path_argument(thread, directory, user, Links::themselves);
  if (path.error) co_return answer(path.error);
  if (!path.hidden) co_return Outcome{};
  std::string target;
  if (const int64_t wrong = co_await thread.copy_string(target_user, target)) co_return answer(wrong);
  ProxyCall frame = path_frame(Op::symlink, target);
  frame.second = bytes_of(path.path);
  const Answer got = co_await thread.ask(frame);
  report_path(thread, path.path, {.operation = "symlink", .other = target}, got.result());
  co_return answer(got.result());
}
Routine<Outcome> symlink_call(Thread& t, SystemCall c) { return symlink_at(t, c.a[0], kHere, c.a[1]); }
Routine<Outcome> symlinkat_call(Thread& t, SystemCall c) { return symlink_at(t, c.a[0], c.descriptor(1), c.a[2]); }

// --- the current directory

Routine<Outcome> chdir_call(Thread& thread, SystemCall call) {
  const PathArgument path = co_await path_argument(thread, kHere, call.a[0]);
  if (path.error) co_return answer(path.error);
  if (!path.hidden) {
    const int64_t done = co_await thread.kernel_own(guest::Symbol::call_sys_chdir, {call.a[0]});
    if (done == 0) thread.directory->set({});
    co_return answer(done);
  }
  const Answer got = co_await thread.ask(path_frame(Op::statx, path.path, {1}));
  if (got.result() < 0) co_return answer(got.result());
  struct statx status {};
  if (got.frame.first.size() != sizeof status) co_return answer(-EIO);
  std::memcpy(&status, got.frame.first.data(), sizeof status);
  if (!S_ISDIR(status.stx_mode)) co_return answer(-ENOTDIR);
  thread.directory->set(path.path);
  co_return answer(0);
}

Routine<Outcome> getcwd_call(Thread& thread, SystemCall call) {
  std::string text = thread.directory->get();
  if (text.empty()) co_return Outcome{};
  const std::string root = root_of(thread);
  if (text.starts_with(root + "/")) text.erase(0, root.size());
  const size_t size = text.size() + 1;
  if (call.a[1] < size) co_return answer(-ERANGE);
  const int64_t wrong = co_await thread.copy_out(call.a[0], std::as_bytes(std::span(text.c_str(), size)));
  co_return answer(wrong ? wrong : s(size));
}

// --- what a proxy cannot do

Routine<Outcome> exec_path(Thread& thread, int directory, uint64_t user, bool may_be_empty) {
  const PathArgument path = co_await path_argument(thread, directory, user);
  if (path.error) co_return answer(path.error);
  const auto file = path.empty && may_be_empty ? thread.descriptors->find(path_descriptor(directory)) : nullptr;
  if (file) co_return answer(refuse(thread, file->path, "execve", -EACCES));
  if (!path.hidden) co_return Outcome{};
  const Answer got = co_await thread.ask(path_frame(Op::statx, path.path, {1}));
  co_return answer(got.result() < 0 ? got.result() : refuse(thread, path.path, "execve", -EACCES));
}
Routine<Outcome> execve_call(Thread& t, SystemCall c) { return exec_path(t, kHere, c.a[0], false); }
Routine<Outcome> execveat_call(Thread& t, SystemCall c) {
  return exec_path(t, c.descriptor(0), c.a[1], c.a[4] & AT_EMPTY_PATH);
}

// Regular files only.
Routine<Outcome> make_node(Thread& thread, int directory, uint64_t user, uint64_t mode) {
  const PathArgument path = co_await path_argument(thread, directory, user, Links::themselves);
  if (path.error) co_return answer(path.error);
  if (!path.hidden) co_return Outcome{};
  if ((mode & S_IFMT) != S_IFREG && (mode & S_IFMT) != 0) co_return answer(refuse(thread, path.path, "mknod", -EPERM));
  const Answer got = co_await thread.ask(
      path_frame(Op::open, path.path, {O_CREAT | O_EXCL | O_WRONLY, s(mode & 07777 & ~uint64_t{umask_of(thread)})}));
  if (got.result() > 0) got.from->close(static_cast<uint32_t>(got.result()));
  report_path(thread, path.path, {.operation = "mknod"}, std::min<int64_t>(got.result(), 0));
  co_return answer(std::min<int64_t>(got.result(), 0));
}
Routine<Outcome> mknod_call(Thread& t, SystemCall c) { return make_node(t, kHere, c.a[0], c.a[1]); }
Routine<Outcome> mknodat_call(Thread& t, SystemCall c) { return make_node(t, c.descriptor(0), c.a[1], c.a[2]); }
// Whether such a call follows a link at the end of its path.
Links links_of(Op op, const std::array<int64_t, 4>& arguments) {
  const bool follows = op == Op::access    ? arguments[1] != 0
                       : op == Op::chown   ? arguments[2] != 0
                       : op == Op::utimens ? arguments[0] != 0
                                           : op != Op::unlink && op != Op::mkdir;
  return follows ? Links::followed : Links::themselves;
}

}  // namespace

Routine<Outcome> on_path(Thread& thread, int directory, uint64_t user, Op op, std::array<int64_t, 4> arguments,
                         const char* what, bool may_be_empty, std::vector<std::byte> second) {
  const PathArgument path = co_await path_argument(thread, directory, user, links_of(op, arguments));
  if (path.error) co_return answer(path.error);
  if (const auto file = path.empty && may_be_empty ? thread.descriptors->find(path_descriptor(directory)) : nullptr) {
    ProxyCall frame = frame_of(op, *file, arguments);
    frame.second = second;
    const Answer got = co_await thread.ask(frame);
    if (what) report(thread, *file, {.operation = what}, got.result());
    co_return answer(got.result());
  }
  if (!path.hidden) co_return Outcome{};
  if (op == Op::unlink && arguments[0] && path.dots) co_return answer(path.dots == 1 ? -EINVAL : -ENOTEMPTY);
  ProxyCall frame = path_frame(op, path.path, arguments);
  frame.second = second;
  const Answer got = co_await thread.ask(frame);
  if (what) report_path(thread, path.path, {.operation = what}, got.result());
  co_return answer(got.result());
}

const CallHandler* file_call(uint64_t number) {
  static constexpr struct {
    uint64_t number;
    CallHandler handler;
  } kCalls[] = {
      {sys::open, {open_call}},
      {sys::creat, {creat_call}},
      {sys::openat, {openat_call}},
      {sys::openat2, {openat2_call}},
      {sys::stat, {stat_call}},
      {sys::lstat, {lstat_call}},
      {sys::newfstatat, {newfstatat_call}},
      {sys::statx, {statx_call}},
      {sys::statfs, {statfs_call}},
      {sys::readlink, {readlink_call}},
      {sys::readlinkat, {readlinkat_call}},
      {sys::access, {access_call}},
      {sys::faccessat, {faccessat_call}},
      {sys::faccessat2, {faccessat_call}},
      {sys::truncate, {truncate_call}},
      {sys::mkdir, {mkdir_call}},
      {sys::mkdirat, {mkdirat_call}},
      {sys::rmdir, {rmdir_call}},
      {sys::unlink, {unlink_call}},
      {sys::unlinkat, {unlinkat_call}},
      {sys::chmod, {chmod_call}},
      {sys::fchmodat, {fchmodat_call}},
      {452 /* fchmodat2, Linux 6.6 */, {fchmodat_call}},
      {sys::chown, {chown_call}},
      {sys::lchown, {chown_call}},
      {sys::fchownat, {fchownat_call}},
      {sys::utimensat, {utimensat_call}},
      {sys::utime, {utimes_call}},
      {sys::utimes, {utimes_call}},
      {sys::futimesat, {utimes_call}},
      {sys::rename, {rename_call}},
      {sys::renameat, {renameat_call}},
      {sys::renameat2, {renameat_call}},
      {sys::link, {link_call}},
      {sys::linkat, {linkat_call}},
      {sys::symlink, {symlink_call}},
      {sys::symlinkat, {symlinkat_call}},
      {sys::chdir, {chdir_call}},
      {sys::getcwd, {getcwd_call}},
      {sys::execve, {execve_call}},
      {sys::execveat, {execveat_call}},
      {sys::mknod, {mknod_call}},
      {sys::mknodat, {mknodat_call}},
  };
  for (const auto& [known, handler] : kCalls)
    if (known == number) return &handler;
  return nullptr;
}

}  // namespace oboro::hiding
