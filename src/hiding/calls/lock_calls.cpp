// flock, and fcntl's record locks. A thread that has to wait for a lock asks for it again after each pause
// (steer/wait.cpp). A signal ends that.

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <sys/file.h>
#include <sys/stat.h>

#include "hiding/calls/calls.h"

namespace oboro::hiding {

using proxy::Op;

namespace {

constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();

// The position that SEEK_CUR or SEEK_END means; or -errno.
Routine<int64_t> base_of(Thread& thread, std::shared_ptr<OpenFile> file, int16_t whence) {
  if (whence == SEEK_SET) co_return 0;
  if (whence == SEEK_CUR) {
    const Answer got = co_await thread.ask(frame_of(Op::lseek, *file, {0, SEEK_CUR}));
    co_return got.result();
  }
  if (whence != SEEK_END) co_return -EINVAL;
  const Answer got = co_await thread.ask(frame_of(Op::statx, *file));
  struct statx status {};
  if (got.result() < 0) co_return got.result();
  if (got.frame.first.size() != sizeof status) co_return -EIO;
  std::memcpy(&status, got.frame.first.data(), sizeof status);
  co_return std::min<uint64_t>(status.stx_size, kEnd);
}

// As flock64_to_posix_lock(), fs/locks.c.
int64_t range_of(const struct flock& wanted, int64_t base, RecordLocks::Lock& out) {
  if (wanted.l_start > kEnd - base) return -EOVERFLOW;
  out.first = base + wanted.l_start;
  if (out.first < 0) return -EINVAL;
  out.last = kEnd;
  if (wanted.l_len > 0) {
    if (wanted.l_len - 1 > kEnd - out.first) return -EOVERFLOW;
    out.last = out.first + (wanted.l_len - 1);
  } else if (wanted.l_len < 0) {
    if (out.first + wanted.l_len < 0) return -EINVAL;
    out.last = out.first - 1;
    out.first += wanted.l_len;
  }
  out.writes = wanted.l_type == F_WRLCK;
  return wanted.l_type == F_RDLCK || wanted.l_type == F_WRLCK || wanted.l_type == F_UNLCK ? 0 : -EINVAL;
}

}  // namespace

Routine<Outcome> flock_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file) co_return answer(-EBADF);
  for (Thread::Waiting waiting;;) {
    const Answer got = co_await thread.ask(frame_of(Op::flock, *file, {s(call.a[1])}));
    if (got.result() != -EWOULDBLOCK || (call.a[1] & LOCK_NB)) co_return answer(got.result());
    if (file->proxy->gone()) co_return answer(-EIO);
    if (co_await thread.pause(waiting, Thread::Sleep::interruptible)) co_return answer(kRestartSys);
  }
}

Routine<Outcome> record_lock_call(Thread& thread, SystemCall call) {
  const auto file = file_of(thread, call, 0);
  if (!file || (file->flags & O_PATH)) co_return answer(-EBADF);
  const uint64_t command = call.a[1];
  const bool of_file = command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
  const bool asks = command == F_GETLK || command == F_OFD_GETLK;
  const bool waits = command == F_SETLKW || command == F_OFD_SETLKW;
  struct flock wanted {};
  if (const int64_t wrong = co_await thread.copy_in(call.a[2], std::as_writable_bytes(std::span(&wanted, 1))))
    co_return answer(wrong);
  if (command == F_GETLK && wanted.l_type != F_RDLCK && wanted.l_type != F_WRLCK) co_return answer(-EINVAL);
  const int64_t base = co_await base_of(thread, file, wanted.l_whence);
  if (base < 0) co_return answer(base);
  const auto descriptors = thread.descriptors;
  RecordLocks::Lock lock;
  lock.owner = of_file ? static_cast<const void*>(file.get()) : descriptors.get();
  lock.pid = of_file ? 0 : thread.tgid();
  if (const int64_t wrong = range_of(wanted, base, lock)) co_return answer(wrong);
  if (!asks) {
    const uint32_t access = file->flags & O_ACCMODE;
    if ((wanted.l_type == F_RDLCK && access == O_WRONLY) || (wanted.l_type == F_WRLCK && access == O_RDONLY))
      co_return answer(-EBADF);
  }
  if (of_file && wanted.l_pid != 0) co_return answer(-EINVAL);

  RecordLocks& locks = file->locks;
  if (asks) {
    const auto other = locks.conflict(file->identity, lock);
    wanted.l_type = static_cast<int16_t>(!other ? F_UNLCK : other->writes ? F_WRLCK : F_RDLCK);
    if (other) {
      wanted.l_whence = SEEK_SET;
      wanted.l_start = other->first;
      wanted.l_len = other->last == kEnd ? 0 : other->last - other->first + 1;
      wanted.l_pid = other->pid ? static_cast<pid_t>(other->pid) : -1;
    }
    co_return answer(co_await thread.copy_out(call.a[2], std::as_bytes(std::span(&wanted, 1))));
  }
  if (wanted.l_type == F_UNLCK) co_return answer(locks.unlock(file->identity, lock));
  RecordLocks::Waiter waiter(locks);
  for (Thread::Waiting waiting;;) {
    const int64_t got = locks.set(file->identity, lock, waits ? &waiter : nullptr);
    if (got == 0) break;
    if (got != -EAGAIN || !waits) co_return answer(got);
    if (file->proxy->gone()) co_return answer(-EIO);  // the holder may never unlock it
    if (co_await thread.pause(waiting, Thread::Sleep::interruptible)) co_return answer(kRestartSys);
  }
  // Another thread may have closed the descriptor meanwhile. Then nobody would ever unlock this.
  if (!of_file && descriptors->find(call.a[0]) != file) {
    locks.release(descriptors.get(), file->identity);
    co_return answer(-EBADF);
  }
  co_return answer(0);
}

}  // namespace oboro::hiding
