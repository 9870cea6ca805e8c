// Calls that a proxy cannot execute. On hidden files they fail as a program expects it of a file system or kernel
// without them, and the log says so. On all else they are the guest kernel's. On hidden files none of them may reach
// that kernel: it would find nothing, or another thing under the same name, or it would make the hidden thing visible.

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "hiding/calls/calls.h"

namespace oboro::hiding {

namespace {

constexpr int kNone = -1;
using Descriptors = std::array<int, 2>;
constexpr Descriptors kNoDescriptor{kNone, kNone};

struct Unsupported {
  uint64_t number;
  const char* name;
  int16_t error;
  // The arguments that are descriptors, and those that are paths, each with the descriptor at which it may start.
  Descriptors descriptors = kNoDescriptor;
  struct Path {
    int path = kNone, directory = kNone;
  };
  std::array<Path, 2> paths{};
};

constexpr Unsupported kCalls[] = {
    {sys::copy_file_range, "copy_file_range", EXDEV, {0, 2}},  // programs fall back to read and write
    {sys::splice, "splice", EINVAL, {0, 2}},
    {sys::tee, "tee", EINVAL, {0, 1}},
    {sys::vmsplice, "vmsplice", EBADF, {0, kNone}},
    {sys::fsetxattr, "fsetxattr", EOPNOTSUPP, {0, kNone}},
    {sys::fgetxattr, "fgetxattr", EOPNOTSUPP, {0, kNone}},
    {sys::flistxattr, "flistxattr", EOPNOTSUPP, {0, kNone}},
    {sys::fremovexattr, "fremovexattr", EOPNOTSUPP, {0, kNone}},
    {sys::setxattr, "setxattr", EOPNOTSUPP, kNoDescriptor, {{{0}}}},
    {sys::lsetxattr, "lsetxattr", EOPNOTSUPP, kNoDescriptor, {{{0}}}},
    {sys::getxattr, "getxattr", EOPNOTSUPP, kNoDescriptor, {{{0}}}},
    {sys::lgetxattr, "lgetxattr", EOPNOTSUPP, kNoDescriptor, {{{0}}}},
    {sys::listxattr, "listxattr", EOPNOTSUPP, kNoDescriptor, {{{0}}}},
    {sys::llistxattr, "llistxattr", EOPNOTSUPP, kNoDescriptor, {{{0}}}},
    {sys::removexattr, "removexattr", EOPNOTSUPP, kNoDescriptor, {{{0}}}},
    {sys::lremovexattr, "lremovexattr", EOPNOTSUPP, kNoDescriptor, {{{0}}}},
    {sys::setxattrat, "setxattrat", EOPNOTSUPP, kNoDescriptor, {{{1, 0}}}},
    {sys::getxattrat, "getxattrat", EOPNOTSUPP, kNoDescriptor, {{{1, 0}}}},
    {sys::listxattrat, "listxattrat", EOPNOTSUPP, kNoDescriptor, {{{1, 0}}}},
    {sys::removexattrat, "removexattrat", EOPNOTSUPP, kNoDescriptor, {{{1, 0}}}},
    {sys::file_getattr, "file_getattr", EOPNOTSUPP, kNoDescriptor, {{{1, 0}}}},
    {sys::file_setattr, "file_setattr", EOPNOTSUPP, kNoDescriptor, {{{1, 0}}}},
    {sys::name_to_handle_at, "name_to_handle_at", EOPNOTSUPP, kNoDescriptor, {{{1, 0}}}},
    {sys::open_by_handle_at, "open_by_handle_at", EOPNOTSUPP, {0, kNone}},
    {sys::inotify_add_watch, "inotify_add_watch", ENOSPC, kNoDescriptor, {{{1}}}},
    {sys::fanotify_mark, "fanotify_mark", ENOSPC, kNoDescriptor, {{{4, 3}}}},
    {sys::cachestat, "cachestat", EOPNOTSUPP, {0, kNone}},
    {sys::quotactl, "quotactl", EPERM, kNoDescriptor, {{{1}}}},
    {sys::quotactl_fd, "quotactl_fd", EPERM, {0, kNone}},
    {sys::chroot, "chroot", EPERM, kNoDescriptor, {{{0}}}},
    {sys::pivot_root, "pivot_root", EPERM, kNoDescriptor, {{{0}, {1}}}},
    {sys::mount, "mount", EPERM, kNoDescriptor, {{{0}, {1}}}},
    {sys::umount2, "umount2", EPERM, kNoDescriptor, {{{0}}}},
    {sys::open_tree, "open_tree", EPERM, kNoDescriptor, {{{1, 0}}}},
    {sys::move_mount, "move_mount", EPERM, kNoDescriptor, {{{1, 0}, {3, 2}}}},
    {sys::fspick, "fspick", EPERM, kNoDescriptor, {{{1, 0}}}},
    {sys::mount_setattr, "mount_setattr", EPERM, kNoDescriptor, {{{1, 0}}}},
    {sys::open_tree_attr, "open_tree_attr", EPERM, kNoDescriptor, {{{1, 0}}}},
    {sys::swapon, "swapon", EPERM, kNoDescriptor, {{{0}}}},
    {sys::swapoff, "swapoff", EPERM, kNoDescriptor, {{{0}}}},
    {sys::acct, "acct", EPERM, kNoDescriptor, {{{0}}}},
    {sys::uselib, "uselib", EACCES, kNoDescriptor, {{{0}}}},
};

const Unsupported* unsupported(uint64_t number) {
  for (const Unsupported& one : kCalls)
    if (one.number == number) return &one;
  return nullptr;
}

Routine<Outcome> refuse_hidden(Thread& thread, SystemCall call) {
  const Unsupported* what = unsupported(call.number);
  const auto argument = [&](int index) { return call.a[static_cast<size_t>(index)]; };
  for (const int index : what->descriptors) {
    const auto file = index == kNone ? nullptr : thread.descriptors->find(argument(index));
    if (file) co_return answer(refuse(thread, file->path, what->name, -what->error));
  }
  for (const Unsupported::Path& one : what->paths) {
    if (one.path == kNone) continue;
    const int directory = one.directory == kNone ? kHere : call.descriptor(static_cast<size_t>(one.directory));
    // Without a path, or with "", the descriptor itself is meant.
    const auto itself = one.directory == kNone ? nullptr : thread.descriptors->find(path_descriptor(directory));
    PathArgument path;
    path.empty = argument(one.path) == 0;
    if (!path.empty) path = co_await path_argument(thread, directory, argument(one.path));
    if (path.empty && itself) co_return answer(refuse(thread, itself->path, what->name, -what->error));
    // The path leads out of a hidden directory, where the kernel is not. The kernel finds any other error itself.
    if (path.error == -ENOENT) co_return answer(path.error);
    if (path.hidden) co_return answer(refuse(thread, path.path, what->name, -what->error));
  }
  co_return Outcome{};
}

// Operations of a ring are not system calls: nobody would ask the tracer, and files and sockets would be the guest's.
// Programs do without, as in a kernel that has no rings.
Routine<Outcome> no_ring(Thread& thread, SystemCall call) {
  const bool setup = call.number == sys::io_uring_setup;
  co_return answer(refuse(thread, "", "io_uring", setup ? -ENOSYS : -EOPNOTSUPP));
}

}  // namespace

// A socket of the guest's own would get a name in a hidden directory, where everybody would see it.
Routine<Outcome> name_of_unix_socket(Thread& thread, uint64_t user, uint64_t size, const char* what) {
  sockaddr_un address{};
  const auto length = std::min<size_t>(static_cast<uint32_t>(size), sizeof address);
  if (length <= offsetof(sockaddr_un, sun_path) || thread.service().files.empty()) co_return Outcome{};
  if (co_await thread.copy_in(user, std::as_writable_bytes(std::span(&address, 1)).first(length))) co_return Outcome{};
  if (address.sun_family != AF_UNIX || address.sun_path[0] == '\0') co_return Outcome{};
  std::string text(address.sun_path, strnlen(address.sun_path, length - offsetof(sockaddr_un, sun_path)));
  const PathArgument path = path_of(thread, kHere, std::move(text));
  if (!path.hidden) co_return Outcome{};
  co_return answer(refuse(thread, path.path, what, -EACCES));
}

const CallHandler* unsupported_call(uint64_t number) {
  static constexpr CallHandler kRefuse{refuse_hidden}, kNoRing{no_ring};
  if (number == sys::io_uring_setup || number == sys::io_uring_enter || number == sys::io_uring_register)
    return &kNoRing;
  return unsupported(number) ? &kRefuse : nullptr;
}

}  // namespace oboro::hiding
