// Calls on descriptors that are open in the proxy: their properties, and their numbers.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "hiding/calls/calls.h"

namespace oboro::hiding {

using guest::Field;
using guest::Symbol;
using proxy::kMaxData;
using proxy::Op;

namespace {

// Calls that return nothing but a number.
Routine<Outcome> plain(Thread& thread, SystemCall call, Op op, std::array<int64_t, 4> arguments) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  const Answer got = co_await thread.ask(frame_of(op, *file, arguments));
  co_return answer(got.result());
}

Routine<Outcome> lseek_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  const Answer got = co_await thread.ask(frame_of(Op::lseek, *file, {s(call.a[1]), s(call.a[2])}));
  if (got.result() >= 0) file->next_entry = got.result();
  co_return answer(got.result());
}
Routine<Outcome> ftruncate_call(Thread& t, SystemCall c) { return plain(t, c, Op::truncate, {s(c.a[1])}); }
Routine<Outcome> fallocate_call(Thread& t, SystemCall c) {
  return plain(t, c, Op::fallocate, {s(c.a[1]), s(c.a[2]), s(c.a[3])});
}
Routine<Outcome> fsync_call(Thread& t, SystemCall c) { return plain(t, c, Op::fsync, {c.number == sys::fdatasync}); }
Routine<Outcome> fchmod_call(Thread& t, SystemCall c) { return plain(t, c, Op::chmod, {s(c.a[1])}); }
Routine<Outcome> fchown_call(Thread& t, SystemCall c) {
  return plain(t, c, Op::chown, {static_cast<int32_t>(c.a[1]), static_cast<int32_t>(c.a[2]), 1});
}

void to_stat(const struct statx& from, struct stat& to) {
  std::memset(&to, 0, sizeof to);
  to.st_dev = static_cast<dev_t>(from.stx_dev_major) << 8 | from.stx_dev_minor;
  to.st_ino = from.stx_ino;
  to.st_nlink = from.stx_nlink;
  to.st_mode = from.stx_mode;
  to.st_uid = from.stx_uid;
  to.st_gid = from.stx_gid;
  to.st_size = static_cast<off_t>(from.stx_size);
  to.st_blksize = from.stx_blksize;
  to.st_blocks = static_cast<blkcnt_t>(from.stx_blocks);
  to.st_atim = {from.stx_atime.tv_sec, static_cast<long>(from.stx_atime.tv_nsec)};
  to.st_mtim = {from.stx_mtime.tv_sec, static_cast<long>(from.stx_mtime.tv_nsec)};
  to.st_ctim = {from.stx_ctime.tv_sec, static_cast<long>(from.stx_ctime.tv_nsec)};
}

Routine<Outcome> fstat_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  co_return co_await stat_to_user(thread, frame_of(Op::statx, *file), call.a[1], false);
}

Routine<Outcome> fstatfs_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  const Answer got = co_await thread.ask(frame_of(Op::statfs, *file));
  if (got.result() < 0) co_return answer(got.result());
  if (got.frame.first.size() != sizeof(struct statfs)) co_return answer(-EIO);
  co_return answer(co_await thread.copy_out(call.a[1], got.frame.first));
}

// The beginning of a struct linux_dirent64.
struct [[gnu::packed]] Entry {
  uint64_t inode;
  int64_t next;
  uint16_t size;
};

Routine<Outcome> getdents_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  if (call.number == sys::getdents) co_return answer(refuse(thread, file->path, "getdents (the old one)", -EINVAL));
  const int64_t size = std::min<int64_t>(static_cast<uint32_t>(call.a[2]), kMaxData);
  const Answer got = co_await thread.ask(frame_of(Op::getdents, *file, {size}));
  if (got.result() <= 0) co_return answer(got.result());
  const auto bytes = got.frame.first.first(std::min<size_t>(got.frame.first.size(), static_cast<size_t>(size)));
  const int64_t wrong = co_await thread.copy_out(call.a[1], bytes);
  if (wrong) (void)co_await thread.ask(frame_of(Op::lseek, *file, {file->next_entry, SEEK_SET}));
  for (size_t at = 0; !wrong && at + sizeof(Entry) <= bytes.size();) {
    Entry entry{};
    std::memcpy(&entry, bytes.data() + at, sizeof entry);
    file->next_entry = entry.next;
    at += std::max<size_t>(entry.size, sizeof entry);
  }
  co_return answer(wrong ? wrong : s(bytes.size()));
}

// --- the numbers themselves

// Has the guest's kernel take the number back.
Routine<int64_t> release(Thread& thread, uint32_t number) {
  const auto file = thread.descriptors->take(number);
  if (!file) co_return -EBADF;
  if (thread.reserved(number)) co_await thread.call(Symbol::call_put_unused_fd, number);
  if (file.use_count() == 1)
    report(thread, *file, {.operation = "close", .bytes_read = file->bytes_in, .bytes_written = file->bytes_out});
  co_return 0;
}

Routine<Outcome> close_call(Thread& thread, SystemCall call) {
  co_return answer(co_await release(thread, static_cast<uint32_t>(call.a[0])));
}

Routine<Outcome> close_range_call(Thread& thread, SystemCall call) {
  constexpr uint64_t kUnshare = 2, kMarkOnly = 4;
  const auto first = static_cast<uint32_t>(call.a[0]), last = static_cast<uint32_t>(call.a[1]);
  if (first > last || (call.a[2] & ~(kUnshare | kMarkOnly))) co_return Outcome{};
  const bool mark_only = call.a[2] & kMarkOnly;
  if (call.a[2] & kUnshare && thread.descriptors.use_count() > 1) {
    // The other threads are to keep theirs. These are closed once the kernel has given this thread a table of its own.
    thread.to_close = {first, last, mark_only};
    co_return Outcome{};
  }
  uint32_t number = 0;
  for (auto one = thread.descriptors->next(first); one && one->number <= last;
       one = thread.descriptors->next(uint64_t{number} + 1)) {
    number = one->number;
    if (mark_only) thread.descriptors->set_close_on_exec(number, one->file, true);
    one.reset();  // the file is closed when its last number goes
    if (!mark_only) (void)co_await release(thread, number);
  }
  co_return Outcome{};  // and the kernel closes its own
}

// Puts a file at a particular number. A file that is open there is closed.
Routine<int64_t> put_at(Thread& thread, std::shared_ptr<OpenFile> file, uint32_t number, bool close_on_exec) {
  if (thread.descriptors->replace(number, {file, close_on_exec})) co_return number;  // the reservation stays
  co_await thread.call(Symbol::call_close_fd, number);
  const auto got = static_cast<int32_t>(
      co_await thread.call(Symbol::call_alloc_fd, number, uint64_t{number} + 1, close_on_exec ? kCloseOnExec : 0));
  if (got < 0) co_return -EBADF;
  if (thread.descriptors->set(number, {std::move(file), close_on_exec})) co_return number;
  co_await thread.call(Symbol::call_put_unused_fd, number);
  co_return -EMFILE;
}

// RLIMIT_NOFILE, but never more than kMostNumbers.
uint32_t number_limit(Thread& thread) {
  constexpr uint64_t kMostNumbers = 1 << 20;
  if (!thread.kernel().profile().has(Field::signal_rlim)) return kMostNumbers;
  guest::Reader r(thread.kernel());
  const Gva limits = r.pointer(thread.task().at, Field::task_signal) + thread.kernel().profile()[Field::signal_rlim];
  const auto limit = r.at<struct rlimit>(limits + RLIMIT_NOFILE * sizeof(struct rlimit));
  return static_cast<uint32_t>(r.failed() ? kMostNumbers : std::min<uint64_t>(limit.rlim_cur, kMostNumbers));
}

Routine<Outcome> dup_call(Thread& thread, SystemCall call) {
  auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  co_return answer(co_await thread.reserve(std::move(file), false));
}

// dup2 and dup3: either end may be the proxy's.
Routine<Outcome> dup_to_call(Thread& thread, SystemCall call) {
  const auto from = static_cast<uint32_t>(call.a[0]), to = static_cast<uint32_t>(call.a[1]);
  const bool third = call.number == sys::dup3;
  const auto file = thread.descriptors->find(from);
  if (!file) {
    // A file of the kernel's takes the place of one of ours. If there is no such file, nothing changes.
    guest::Reader r(thread.kernel());
    const Gva table = r.pointer(thread.files, guest::Field::files_struct_fdt);
    const bool open = from < r.get<uint32_t>(table, guest::Field::fdtable_max_fds) &&
                      r.at<uint64_t>(r.pointer(table, guest::Field::fdtable_fd) + uint64_t{from} * 8) != 0;
    const bool wrong = third && ((call.a[2] & ~uint64_t{O_CLOEXEC}) || from == to);
    if (open && !wrong && thread.descriptors->has(to)) (void)co_await release(thread, to);
    co_return Outcome{};
  }
  if (third && (call.a[2] & ~uint64_t{O_CLOEXEC})) co_return answer(-EINVAL);
  if (from == to) co_return answer(third ? -EINVAL : int64_t{to});
  if (to >= number_limit(thread)) co_return answer(-EBADF);
  co_return answer(co_await put_at(thread, file, to, third && (call.a[2] & O_CLOEXEC)));
}

Routine<int64_t> duplicate_from(Thread& thread, std::shared_ptr<OpenFile> file, uint32_t lowest, bool close_on_exec) {
  const auto number = static_cast<int32_t>(
      co_await thread.call(Symbol::call_alloc_fd, lowest, number_limit(thread), close_on_exec ? kCloseOnExec : 0));
  if (number < 0) co_return number;
  if (thread.descriptors->set(static_cast<uint32_t>(number), {std::move(file), close_on_exec})) co_return number;
  co_await thread.call(Symbol::call_put_unused_fd, static_cast<uint32_t>(number));
  co_return -EMFILE;
}

Routine<Outcome> fcntl_call(Thread& thread, SystemCall call) {
  const auto number = static_cast<uint32_t>(call.a[0]);
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  switch (call.a[1]) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      if (static_cast<uint32_t>(call.a[2]) >= number_limit(thread)) co_return answer(-EINVAL);
      co_return answer(
          co_await duplicate_from(thread, file, static_cast<uint32_t>(call.a[2]), call.a[1] == F_DUPFD_CLOEXEC));
    case F_GETFD:
      co_return answer(thread.descriptors->close_on_exec(number) ? FD_CLOEXEC : 0);
    case F_SETFD:
      thread.descriptors->set_close_on_exec(number, file, (call.a[2] & FD_CLOEXEC) != 0);
      co_return answer(0);
    case F_GETFL:
      co_return answer(file->flags | (file->is_socket ? 0 : 0100000));  // O_LARGEFILE, as 64-bit programs have it
    case F_SETFL: {
      const Answer got = co_await thread.ask(frame_of(Op::setfl, *file, {s(call.a[2])}));
      if (got.result() == 0)
        file->flags =
            (file->flags & ~(O_APPEND | O_NONBLOCK)) | (static_cast<uint32_t>(call.a[2]) & (O_APPEND | O_NONBLOCK));
      co_return answer(got.result());
    }
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      co_return co_await record_lock_call(thread, call);
    case F_GETOWN:
      co_return answer(0);
    case F_SETOWN:
      if (call.a[2]) refuse(thread, file->path, "SIGIO (F_SETOWN)", -EOPNOTSUPP);
      co_return answer(0);  // the flag is set; no signal will come
    default:
      co_return answer(refuse(thread, file->path, fmt::format("fcntl {}", call.a[1]), -EINVAL));
  }
}

// FIONREAD of a file: the bytes from its position to its end.
Routine<Outcome> bytes_left(Thread& thread, std::shared_ptr<OpenFile> file, uint64_t user) {
  if (file->flags & O_PATH) co_return answer(-EBADF);
  const Answer what = co_await thread.ask(frame_of(Op::statx, *file));
  struct statx status {};
  if (what.result() < 0 || what.frame.first.size() != sizeof status) co_return answer(-EIO);
  std::memcpy(&status, what.frame.first.data(), sizeof status);
  if (!S_ISREG(status.stx_mode)) co_return answer(-ENOTTY);
  const Answer where = co_await thread.ask(frame_of(Op::lseek, *file, {0, SEEK_CUR}));
  if (where.result() < 0) co_return answer(where.result());
  const auto left = static_cast<int>(status.stx_size - static_cast<uint64_t>(where.result()));
  co_return answer(co_await thread.copy_out(user, std::as_bytes(std::span(&left, 1))));
}

Routine<Outcome> ioctl_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  switch (static_cast<uint32_t>(call.a[1])) {
    case FIOCLEX:
    case FIONCLEX:
      thread.descriptors->set_close_on_exec(static_cast<uint32_t>(call.a[0]), file, call.a[1] == FIOCLEX);
      co_return answer(0);
    case FIONBIO: {
      int on = 0;
      if (const int64_t wrong = co_await thread.copy_in(call.a[2], std::as_writable_bytes(std::span(&on, 1))))
        co_return answer(wrong);
      const uint32_t flags = (file->flags & ~O_NONBLOCK) | (on ? O_NONBLOCK : 0);
      const Answer got = co_await thread.ask(frame_of(Op::setfl, *file, {flags}));
      if (got.result() == 0) file->flags = flags;
      co_return answer(got.result());
    }
    default: {
      if (!file->is_socket && static_cast<uint32_t>(call.a[1]) == FIONREAD)
        co_return co_await bytes_left(thread, file, call.a[2]);
      // A request that means nothing to a file (is it a terminal?) may be refused without a report.
      constexpr uint32_t kOfFileSystem = 'f', kClone = 0x94, kTypeShift = 8;
      const uint32_t type = static_cast<uint32_t>(call.a[1]) >> kTypeShift & 0xff;
      const bool lost = file->is_socket || type == kOfFileSystem || type == kClone;
      Answer got;
      if (file->is_socket) got = co_await thread.ask(frame_of(Op::ioctl, *file, {s(static_cast<uint32_t>(call.a[1]))}));
      if (!file->is_socket || got.result() == -ENOTTY) {
        if (lost) refuse(thread, file->path, fmt::format("ioctl {:#x}", static_cast<uint32_t>(call.a[1])), -ENOTTY);
        co_return answer(-ENOTTY);
      }
      if (got.result() < 0) co_return answer(got.result());
      const auto value = static_cast<int>(got.frame.arguments[1]);
      co_return answer(co_await thread.copy_out(call.a[2], std::as_bytes(std::span(&value, 1))));
    }
  }
}

Routine<bool> is_directory(Thread& thread, const OpenFile& file) {
  const Answer got = co_await thread.ask(frame_of(Op::statx, file));
  struct statx status {};
  if (got.result() < 0 || got.frame.first.size() != sizeof status) co_return false;
  std::memcpy(&status, got.frame.first.data(), sizeof status);
  co_return S_ISDIR(status.stx_mode);
}

Routine<Outcome> fchdir_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file) {
    const int64_t done = co_await thread.kernel_own(Symbol::call_sys_fchdir, {call.a[0]});
    if (done == 0) thread.directory->set({});
    co_return answer(done);
  }
  const bool directory = co_await is_directory(thread, *file);
  if (!directory) co_return answer(-ENOTDIR);
  thread.directory->set(file->path);
  co_return answer(0);
}

// --- what a proxy cannot do

Routine<Outcome> no_mapping(Thread& thread, SystemCall call) {
  constexpr uint64_t kAnonymous = 0x20;
  if (call.a[3] & kAnonymous) co_return Outcome{};
  const auto file = file_of(thread, call, 4);
  co_return answer(refuse(thread, file ? file->path : "", "mmap", -ENODEV));
}
Routine<Outcome> no_advice_needed(Thread&, SystemCall call) {
  const bool wrong = call.number == sys::fadvise64 && (call.a[3] > POSIX_FADV_NOREUSE || s(call.a[2]) < 0);
  co_return answer(wrong ? -EINVAL : 0);
}

}  // namespace

Routine<Outcome> stat_to_user(Thread& thread, ProxyCall frame, uint64_t user, bool extended) {
  const Answer got = co_await thread.ask(frame);
  if (got.result() < 0) co_return answer(got.result());
  struct statx status {};
  if (got.frame.first.size() != sizeof status) co_return answer(-EIO);
  std::memcpy(&status, got.frame.first.data(), sizeof status);
  if (extended) co_return answer(co_await thread.copy_out(user, std::as_bytes(std::span(&status, 1))));
  struct stat old {};
  to_stat(status, old);
  co_return answer(co_await thread.copy_out(user, std::as_bytes(std::span(&old, 1))));
}

const CallHandler* descriptor_call(uint64_t number) {
  static constexpr struct {
    uint64_t number;
    CallHandler handler;
  } kCalls[] = {
      {sys::lseek, {lseek_call, 0}},
      {sys::fstat, {fstat_call, 0}},
      {sys::fstatfs, {fstatfs_call, 0}},
      {sys::ftruncate, {ftruncate_call, 0}},
      {sys::fallocate, {fallocate_call, 0}},
      {sys::fsync, {fsync_call, 0}},
      {sys::fdatasync, {fsync_call, 0}},
      {sys::syncfs, {fsync_call, 0}},
      {sys::sync_file_range, {fsync_call, 0}},
      {sys::flock, {flock_call, 0}},
      {sys::fchmod, {fchmod_call, 0}},
      {sys::fchown, {fchown_call, 0}},
      {sys::fchdir, {fchdir_call, -1}},
      {sys::getdents64, {getdents_call, 0}},
      {sys::getdents, {getdents_call, 0}},
      {sys::fcntl, {fcntl_call, 0}},
      {sys::ioctl, {ioctl_call, 0}},
      {sys::close, {close_call, 0}},
      {sys::close_range, {close_range_call, -1}},
      {sys::dup, {dup_call, 0}},
      {sys::dup2, {dup_to_call, -1}},
      {sys::dup3, {dup_to_call, -1}},
      {sys::mmap, {no_mapping, 4}},
      {sys::fadvise64, {no_advice_needed, 0}},
      {sys::readahead, {no_advice_needed, 0}},
      {sys::sendfile, {sendfile_call, -1}},
  };
  for (const auto& [known, handler] : kCalls)
    if (known == number) return &handler;
  return nullptr;
}

}  // namespace oboro::hiding
