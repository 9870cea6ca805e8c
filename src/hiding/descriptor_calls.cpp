// Calls on descriptors that are open in the proxy: reading, writing, and what they are.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "hiding/calls.h"

namespace oboro::hiding {

using guest::Symbol;
using proxy::Frame;
using proxy::kMaxData;
using proxy::Op;

namespace {

constexpr size_t kMaxParts = 1024;  // UIO_MAXIOV

Outcome answer(int64_t value) { return Outcome::answer(value); }

// What a wait for data comes to when a signal is there: files are not interrupted.
int64_t interrupted(const OpenFile& file, bool sends) { return file.is_socket ? file.interrupted(sends) : 0; }

// Bytes that are to go to `file`, in as many calls as it takes.
Routine<int64_t> write_parts(Thread& thread, std::shared_ptr<OpenFile> file, std::vector<Part> parts, int64_t offset) {
  const uint64_t size = total(parts);
  uint64_t done = 0;
  int64_t error = 0;
  std::vector<std::byte> bytes;
  if (!may_send(thread, *file, {})) co_return -EPERM;
  give_labels(thread, *file);
  do {
    error = co_await gather(thread, parts, done, bytes);
    if (error) break;
    Frame frame = frame_of(Op::write, *file, {offset < 0 ? -1 : offset + static_cast<int64_t>(done)});
    frame.first = bytes;
    const Answer got = co_await thread.ask(frame, interrupted(*file, true));
    error = std::min<int64_t>(got.result(), 0);
    if (error) break;
    const auto written = std::min<uint64_t>(static_cast<uint64_t>(got.result()), bytes.size());
    done += written;
    if (written < bytes.size() || written == 0) break;
  } while (done < size);
  file->bytes_out += done;
  if (error == -EPIPE && file->type == SOCK_STREAM)
    co_await thread.call(Symbol::call_send_sig, SIGPIPE, thread.task().at.value, 0);
  co_return done ? static_cast<int64_t>(done) : error;
}

Routine<int64_t> read_parts(Thread& thread, std::shared_ptr<OpenFile> file, std::vector<Part> parts, int64_t offset) {
  const uint64_t size = total(parts);
  uint64_t done = 0;
  do {
    const auto wanted = static_cast<int64_t>(std::min<uint64_t>(size - done, kMaxData));
    const Answer got =
        co_await thread.ask(frame_of(Op::read, *file, {wanted, offset < 0 ? -1 : offset + static_cast<int64_t>(done)}),
                            interrupted(*file, false));
    if (got.result() < 0) co_return done ? static_cast<int64_t>(done) : got.result();
    take_labels(thread, *file);
    const auto bytes = got.frame.first.first(std::min<size_t>(got.frame.first.size(), static_cast<size_t>(wanted)));
    const int64_t given = co_await scatter(thread, parts, done, bytes);
    const auto fits = static_cast<uint64_t>(std::max<int64_t>(given, 0));
    done += fits;
    file->bytes_in += fits;
    if (fits < bytes.size()) {
      // The position is behind what was given.
      const auto back = static_cast<int64_t>(fits) - static_cast<int64_t>(bytes.size());
      if (offset < 0 && !file->is_socket) (void)co_await thread.ask(frame_of(Op::lseek, *file, {back, SEEK_CUR}));
      co_return done ? static_cast<int64_t>(done) : given;
    }
    if (bytes.size() < static_cast<size_t>(wanted) || file->is_socket) break;
  } while (done < size);
  co_return static_cast<int64_t>(done);
}

// read, pread64, readv, preadv, preadv2; write and its kin.
Routine<Outcome> move_data(Thread& thread, SystemCall call, bool writes, bool vector, bool positioned) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  ++file->calls;
  std::vector<Part> parts{{call.a[1], call.a[2]}};
  if (vector) {
    if (const int64_t wrong = co_await copy_parts(thread, call.a[1], call.a[2], parts)) co_return answer(wrong);
  }
  int64_t offset = -1;
  bool synchronous = false;
  if (positioned) {
    offset = static_cast<int64_t>(call.a[3]);
    // preadv2 and pwritev2 take -1 for "at the current position"; the others take no negative offset.
    const bool second = call.number == SYS_preadv2 || call.number == SYS_pwritev2;
    constexpr uint64_t kHints = 0x1 | 0x2 | 0x4 | 0x8;  // RWF_HIPRI, DSYNC, SYNC, NOWAIT
    if (second && (call.a[5] & ~kHints)) co_return answer(-EOPNOTSUPP);
    synchronous = second && (call.a[5] & 0x6);
    if (offset < 0 && !(second && offset == -1)) co_return answer(-EINVAL);
  }
  if (writes) {
    const int64_t written = co_await write_parts(thread, file, std::move(parts), offset);
    if (synchronous && written > 0) (void)co_await thread.ask(frame_of(Op::fsync, *file, {1}));
    co_return answer(written);
  }
  co_return answer(co_await read_parts(thread, file, std::move(parts), offset));
}

Routine<Outcome> pread_call(Thread& t, SystemCall c) { return move_data(t, c, false, false, true); }
Routine<Outcome> readv_call(Thread& t, SystemCall c) { return move_data(t, c, false, true, false); }
Routine<Outcome> preadv_call(Thread& t, SystemCall c) { return move_data(t, c, false, true, true); }
Routine<Outcome> pwrite_call(Thread& t, SystemCall c) { return move_data(t, c, true, false, true); }
Routine<Outcome> writev_call(Thread& t, SystemCall c) { return move_data(t, c, true, true, false); }
Routine<Outcome> pwritev_call(Thread& t, SystemCall c) { return move_data(t, c, true, true, true); }

// Calls whose only result is a number.
Routine<Outcome> plain(Thread& thread, SystemCall call, Op op, std::array<int64_t, 4> arguments) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  const Answer got = co_await thread.ask(frame_of(op, *file, arguments));
  co_return answer(got.result());
}

int64_t s(uint64_t value) { return static_cast<int64_t>(value); }

Routine<Outcome> lseek_call(Thread& t, SystemCall c) { return plain(t, c, Op::lseek, {s(c.a[1]), s(c.a[2])}); }
Routine<Outcome> ftruncate_call(Thread& t, SystemCall c) { return plain(t, c, Op::truncate, {s(c.a[1])}); }
Routine<Outcome> fallocate_call(Thread& t, SystemCall c) {
  return plain(t, c, Op::fallocate, {s(c.a[1]), s(c.a[2]), s(c.a[3])});
}
Routine<Outcome> fsync_call(Thread& t, SystemCall c) { return plain(t, c, Op::fsync, {c.number == SYS_fdatasync}); }
Routine<Outcome> fchmod_call(Thread& t, SystemCall c) { return plain(t, c, Op::chmod, {s(c.a[1])}); }
Routine<Outcome> fchown_call(Thread& t, SystemCall c) {
  return plain(t, c, Op::chown, {static_cast<int32_t>(c.a[1]), static_cast<int32_t>(c.a[2]), 1});
}

Routine<Outcome> flock_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  for (unsigned round = 0;; ++round) {
    const Answer got = co_await thread.ask(frame_of(Op::flock, *file, {s(call.a[1])}));
    if (got.result() != -EWOULDBLOCK || (call.a[1] & 4)) co_return answer(got.result());  // LOCK_NB
    if (co_await thread.pause(round, Thread::Sleep::interruptible)) co_return answer(kRestartSys);
  }
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

Routine<Outcome> getdents_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  if (call.number == SYS_getdents) co_return answer(refuse(thread, file->path, "getdents (the old one)", -EINVAL));
  const int64_t size = std::min<int64_t>(static_cast<uint32_t>(call.a[2]), kMaxData);
  const Answer got = co_await thread.ask(frame_of(Op::getdents, *file, {size}));
  if (got.result() <= 0) co_return answer(got.result());
  const auto bytes = got.frame.first.first(std::min<size_t>(got.frame.first.size(), static_cast<size_t>(size)));
  const int64_t wrong = co_await thread.copy_out(call.a[1], bytes);
  co_return answer(wrong ? wrong : s(bytes.size()));
}

// --- the numbers themselves

// The guest's kernel is to take the number back.
Routine<int64_t> release(Thread& thread, uint32_t number) {
  const auto file = thread.descriptors->take(number);
  if (!file) co_return -EBADF;
  if (thread.reserved(number)) co_await thread.call(Symbol::call_put_unused_fd, number);
  if (file.use_count() == 1)
    report(thread, *file, fmt::format("close, {} bytes read, {} written", file->bytes_in, file->bytes_out));
  co_return 0;
}

Routine<Outcome> close_call(Thread& thread, SystemCall call) {
  co_return answer(co_await release(thread, static_cast<uint32_t>(call.a[0])));
}

Routine<Outcome> close_range_call(Thread& thread, SystemCall call) {
  constexpr uint64_t kUnshare = 2, kCloseOnExec = 4;
  const auto first = static_cast<uint32_t>(call.a[0]), last = static_cast<uint32_t>(call.a[1]);
  if (first > last || (call.a[2] & ~(kUnshare | kCloseOnExec))) co_return Outcome{};
  for (const auto& [number, descriptor] : thread.descriptors->all()) {
    if (number < first || number > last) continue;
    if (call.a[2] & kCloseOnExec)
      thread.descriptors->set(number, {descriptor.file, true});
    else
      (void)co_await release(thread, number);
  }
  co_return Outcome{};  // and the kernel's own
}

// A particular number for a file; whatever is open there goes.
Routine<int64_t> put_at(Thread& thread, std::shared_ptr<OpenFile> file, uint32_t number, bool close_on_exec) {
  constexpr uint64_t kCloseOnExec = 02000000;
  if (thread.descriptors->has(number)) {
    (void)thread.descriptors->take(number);  // the reservation stays
  } else {
    co_await thread.call(Symbol::call_close_fd, number);
    const auto got = static_cast<int32_t>(
        co_await thread.call(Symbol::call_alloc_fd, number, uint64_t{number} + 1, close_on_exec ? kCloseOnExec : 0));
    if (got < 0) co_return -EBADF;
  }
  if (thread.descriptors->set(number, {std::move(file), close_on_exec})) co_return number;
  co_await thread.call(Symbol::call_put_unused_fd, number);
  co_return -EMFILE;
}

Routine<Outcome> dup_call(Thread& thread, SystemCall call) {
  auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  co_return answer(co_await thread.reserve(std::move(file), false));
}

// dup2 and dup3: either end may be the proxy's.
Routine<Outcome> dup_to_call(Thread& thread, SystemCall call) {
  const auto from = static_cast<uint32_t>(call.a[0]), to = static_cast<uint32_t>(call.a[1]);
  const bool third = call.number == SYS_dup3;
  const auto file = thread.descriptors->find(from);
  if (!file) {
    // The kernel's own takes the place of one of ours. If it is none at all, nothing changes.
    guest::Reader r(thread.kernel());
    const Gva table = r.pointer(thread.files, guest::Field::files_struct_fdt);
    const bool open = from < r.get<uint32_t>(table, guest::Field::fdtable_max_fds) &&
                      r.at<uint64_t>(r.pointer(table, guest::Field::fdtable_fd) + uint64_t{from} * 8) != 0;
    if (open && thread.descriptors->has(to)) (void)co_await release(thread, to);
    co_return Outcome{};
  }
  if (third && (call.a[2] & ~uint64_t{O_CLOEXEC})) co_return answer(-EINVAL);
  if (from == to) co_return answer(third ? -EINVAL : int64_t{to});
  co_return answer(co_await put_at(thread, file, to, third && (call.a[2] & O_CLOEXEC)));
}

Routine<int64_t> duplicate_from(Thread& thread, std::shared_ptr<OpenFile> file, uint32_t lowest, bool close_on_exec) {
  constexpr uint64_t kCloseOnExec = 02000000, kMost = 1 << 20;
  const auto number = static_cast<int32_t>(
      co_await thread.call(Symbol::call_alloc_fd, lowest, kMost, close_on_exec ? kCloseOnExec : 0));
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
      if (call.a[2] > 1 << 20) co_return answer(-EINVAL);
      co_return answer(
          co_await duplicate_from(thread, file, static_cast<uint32_t>(call.a[2]), call.a[1] == F_DUPFD_CLOEXEC));
    case F_GETFD:
      co_return answer(thread.descriptors->close_on_exec(number) ? FD_CLOEXEC : 0);
    case F_SETFD:
      thread.descriptors->set(number, {file, (call.a[2] & FD_CLOEXEC) != 0});
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
    case F_OFD_GETLK: {
      // Only the service itself has these files open, and its processes know of each other.
      struct flock lock {};
      if (const int64_t wrong = co_await thread.copy_in(call.a[2], std::as_writable_bytes(std::span(&lock, 1))))
        co_return answer(wrong);
      lock.l_type = F_UNLCK;
      co_return answer(co_await thread.copy_out(call.a[2], std::as_bytes(std::span(&lock, 1))));
    }
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      co_return answer(0);
    case F_GETOWN:
    case F_SETOWN:
      co_return answer(0);
    default:
      co_return answer(-EINVAL);
  }
}

Routine<Outcome> ioctl_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  switch (static_cast<uint32_t>(call.a[1])) {
    case FIOCLEX:
    case FIONCLEX:
      thread.descriptors->set(static_cast<uint32_t>(call.a[0]), {file, call.a[1] == FIOCLEX});
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
      if (!file->is_socket) co_return answer(-ENOTTY);
      const Answer got = co_await thread.ask(frame_of(Op::ioctl, *file, {s(static_cast<uint32_t>(call.a[1]))}));
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
    if (done == 0) thread.directory->clear();
    co_return answer(done);
  }
  const bool directory = co_await is_directory(thread, *file);
  if (!directory) co_return answer(-ENOTDIR);
  *thread.directory = file->path;
  co_return answer(0);
}

// --- what a proxy cannot do

Routine<Outcome> no_mapping(Thread& thread, SystemCall call) {
  constexpr uint64_t kAnonymous = 0x20;
  if (call.a[3] & kAnonymous) co_return Outcome{};
  const auto file = file_of(thread, call, 4);
  co_return answer(refuse(thread, file ? file->path : "", "mmap", -ENODEV));
}
Routine<Outcome> no_attributes(Thread&, SystemCall) { co_return answer(-EOPNOTSUPP); }
Routine<Outcome> no_advice_needed(Thread&, SystemCall) { co_return answer(0); }

// sendfile, copy_file_range and splice with at least one of ours: programs fall back to read and write.
Routine<Outcome> no_copy(Thread& thread, SystemCall call) {
  const bool range = call.number == SYS_copy_file_range;
  const bool sends = call.number == SYS_sendfile;
  const bool any = thread.descriptors->has(static_cast<uint32_t>(call.a[0])) ||
                   thread.descriptors->has(static_cast<uint32_t>(call.a[sends ? 1 : 2]));
  if (!any) co_return Outcome{};
  co_return answer(range ? -EXDEV : -EINVAL);
}

}  // namespace

Routine<Outcome> stat_to_user(Thread& thread, Frame frame, uint64_t user, bool extended) {
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

Routine<Outcome> read_call(Thread& t, SystemCall c) { return move_data(t, c, false, false, false); }
Routine<Outcome> write_call(Thread& t, SystemCall c) { return move_data(t, c, true, false, false); }

Routine<int64_t> copy_parts(Thread& thread, uint64_t user, uint64_t count, std::vector<Part>& out) {
  if (count > kMaxParts) co_return -EINVAL;
  out.resize(count);
  if (const int64_t wrong = co_await thread.copy_in(user, std::as_writable_bytes(std::span(out)))) co_return wrong;
  uint64_t sum = 0;
  for (const Part& part : out) {
    if (part.size > INT64_MAX - sum) co_return -EINVAL;
    sum += part.size;
  }
  co_return 0;
}

uint64_t total(const std::vector<Part>& parts) {
  uint64_t sum = 0;
  for (const Part& part : parts) sum += part.size;
  return sum;
}

Routine<int64_t> gather(Thread& thread, const std::vector<Part>& parts, uint64_t skip, std::vector<std::byte>& out) {
  out.clear();
  for (const Part& part : parts) {
    if (skip >= part.size) {
      skip -= part.size;
      continue;
    }
    const size_t at = out.size();
    const size_t size = std::min<uint64_t>(part.size - skip, kMaxData - at);
    out.resize(at + size);
    const int64_t got = co_await thread.copy_some_in(part.base + skip, std::span(out).subspan(at));
    out.resize(at + static_cast<size_t>(std::max<int64_t>(got, 0)));
    if (got < 0 && at == 0) co_return got;
    if (static_cast<size_t>(std::max<int64_t>(got, 0)) < size || out.size() == kMaxData) break;
    skip = 0;
  }
  co_return 0;
}

Routine<int64_t> scatter(Thread& thread, const std::vector<Part>& parts, uint64_t skip,
                         std::span<const std::byte> bytes) {
  uint64_t done = 0;
  for (const Part& part : parts) {
    if (skip >= part.size) {
      skip -= part.size;
      continue;
    }
    const size_t size = std::min<uint64_t>(part.size - skip, bytes.size() - done);
    if (size == 0) break;
    const int64_t got = co_await thread.copy_some_out(part.base + skip, bytes.subspan(done, size));
    if (got < 0 && done == 0) co_return got;
    done += static_cast<uint64_t>(std::max<int64_t>(got, 0));
    if (got < static_cast<int64_t>(size)) break;
    skip = 0;
  }
  co_return static_cast<int64_t>(done);
}

const CallHandler* descriptor_call(uint64_t number) {
  static constexpr struct {
    uint64_t number;
    CallHandler handler;
  } kCalls[] = {
      {SYS_read, {read_call, 0}},
      {SYS_pread64, {pread_call, 0}},
      {SYS_readv, {readv_call, 0}},
      {SYS_preadv, {preadv_call, 0}},
      {SYS_preadv2, {preadv_call, 0}},
      {SYS_write, {write_call, 0}},
      {SYS_pwrite64, {pwrite_call, 0}},
      {SYS_writev, {writev_call, 0}},
      {SYS_pwritev, {pwritev_call, 0}},
      {SYS_pwritev2, {pwritev_call, 0}},
      {SYS_lseek, {lseek_call, 0}},
      {SYS_fstat, {fstat_call, 0}},
      {SYS_fstatfs, {fstatfs_call, 0}},
      {SYS_ftruncate, {ftruncate_call, 0}},
      {SYS_fallocate, {fallocate_call, 0}},
      {SYS_fsync, {fsync_call, 0}},
      {SYS_fdatasync, {fsync_call, 0}},
      {SYS_syncfs, {fsync_call, 0}},
      {SYS_sync_file_range, {fsync_call, 0}},
      {SYS_flock, {flock_call, 0}},
      {SYS_fchmod, {fchmod_call, 0}},
      {SYS_fchown, {fchown_call, 0}},
      {SYS_fchdir, {fchdir_call, -1}},
      {SYS_getdents64, {getdents_call, 0}},
      {SYS_getdents, {getdents_call, 0}},
      {SYS_fcntl, {fcntl_call, 0}},
      {SYS_ioctl, {ioctl_call, 0}},
      {SYS_close, {close_call, 0}},
      {SYS_close_range, {close_range_call, -1}},
      {SYS_dup, {dup_call, 0}},
      {SYS_dup2, {dup_to_call, -1}},
      {SYS_dup3, {dup_to_call, -1}},
      {SYS_mmap, {no_mapping, 4}},
      {SYS_fsetxattr, {no_attributes, 0}},
      {SYS_fgetxattr, {no_attributes, 0}},
      {SYS_flistxattr, {no_attributes, 0}},
      {SYS_fremovexattr, {no_attributes, 0}},
      {SYS_fadvise64, {no_advice_needed, 0}},
      {SYS_readahead, {no_advice_needed, 0}},
      {SYS_sendfile, {no_copy, -1}},
      {SYS_copy_file_range, {no_copy, -1}},
      {SYS_splice, {no_copy, -1}},
  };
  for (const auto& [known, handler] : kCalls)
    if (known == number) return &handler;
  return nullptr;
}

}  // namespace oboro::hiding
