// sendfile with one end in the proxy, or both. The bytes pass this process in pieces. The guest's own end is read or
// written by its kernel's kernel_read() and kernel_write(), through the thread's buffer.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "guest/file.h"
#include "hiding/calls/calls.h"

namespace oboro::hiding {

using guest::Field;
using guest::Symbol;
using proxy::Op;

namespace {

constexpr uint64_t kMaxRwCount = 0x7ffff000;                        // MAX_RW_COUNT
constexpr uint32_t kReadable = 1, kWritable = 2, kHasPosition = 4;  // FMODE_..., include/linux/fs.h
constexpr size_t kPiece = Thread::kBufferSize;

struct End {
  std::shared_ptr<OpenFile> ours;
  Gva theirs;             // struct file, held; null if the end is ours
  int64_t position = -1;  // of the next piece; -1: the file's own position
};

// The error of the source; 0: none. The source has a position then, unless the file's own counts.
int64_t open_source(Thread& thread, End& end) {
  if (end.ours) {
    if (end.ours->is_socket) return end.position >= 0 ? -ESPIPE : -EINVAL;
    return end.ours->flags & O_PATH || (end.ours->flags & O_ACCMODE) == O_WRONLY ? -EBADF : 0;
  }
  guest::Reader r(thread.kernel());
  const auto mode = r.get<uint32_t>(end.theirs, Field::file_mode);
  const auto type = r.get<uint16_t>(r.pointer(end.theirs, Field::file_inode), Field::inode_mode) & S_IFMT;
  if (!(mode & kReadable)) return -EBADF;
  if (type != S_IFREG && type != S_IFBLK) return end.position >= 0 && !(mode & kHasPosition) ? -ESPIPE : -EINVAL;
  return 0;
}

int64_t open_target(Thread& thread, const End& end) {
  if (end.ours) {
    if (end.ours->flags & O_PATH || (end.ours->flags & O_ACCMODE) == O_RDONLY) return -EBADF;
    return !end.ours->is_socket && end.ours->flags & O_APPEND ? -EINVAL : 0;
  }
  guest::Reader r(thread.kernel());
  if (!(r.get<uint32_t>(end.theirs, Field::file_mode) & kWritable)) return -EBADF;
  return r.get<uint32_t>(end.theirs, Field::file_flags) & O_APPEND ? -EINVAL : 0;
}

// The next piece at an end of the guest's own, with its position. As do_sendfile(), without the file's lock.
Routine<int64_t> at_theirs(Thread& thread, End& end, Symbol function, uint64_t size) {
  guest::Reader r(thread.kernel());
  const bool keeps = r.get<uint32_t>(end.theirs, Field::file_mode) & kHasPosition;
  const Gva at = end.theirs + thread.kernel().profile()[Field::file_pos];
  const bool own = end.position < 0;
  const int64_t before = own ? keeps ? r.at<int64_t>(at) : 0 : end.position;
  thread.writer().put(thread.scratch(), before);
  const auto done = static_cast<int64_t>(
      co_await thread.call(function, end.theirs.value, thread.buffer().value, size, thread.scratch().value));
  if (done > static_cast<int64_t>(size)) co_return -EIO;
  if (done > 0 && !own) end.position += done;
  if (done > 0 && own && keeps) thread.writer().put(at, before + done);
  co_return done;
}

Routine<int64_t> read_piece(Thread& thread, End& end, uint64_t size, std::vector<std::byte>& out) {
  out.clear();
  if (!end.ours) {
    const int64_t got = co_await at_theirs(thread, end, Symbol::call_kernel_read, size);
    if (got <= 0) co_return got;
    out.resize(static_cast<size_t>(got));
    co_return thread.read_buffer(0, out) ? got : -EIO;
  }
  const Answer got = co_await thread.ask(frame_of(Op::read, *end.ours, {s(size), end.position}));
  if (got.result() < 0) co_return got.result() == -EISDIR ? -EINVAL : got.result();
  take_labels(thread, *end.ours);
  const auto bytes = got.frame.first.first(std::min<size_t>(got.frame.first.size(), size));
  out.assign(bytes.begin(), bytes.end());
  if (end.position >= 0) end.position += s(bytes.size());
  end.ours->bytes_in += bytes.size();
  co_return s(bytes.size());
}

// Gives back the last bytes, as many as were not wanted after all.
Routine<int64_t> step_back(Thread& thread, End& end, int64_t size) {
  if (end.position >= 0) {
    end.position -= size;
  } else if (end.ours) {
    (void)co_await thread.ask(frame_of(Op::lseek, *end.ours, {-size, SEEK_CUR}));
  } else {
    guest::Reader r(thread.kernel());
    const Gva at = end.theirs + thread.kernel().profile()[Field::file_pos];
    thread.writer().put(at, std::max<int64_t>(r.at<int64_t>(at) - size, 0));
  }
  co_return 0;
}

Routine<int64_t> write_piece(Thread& thread, End& end, const std::vector<std::byte>& bytes) {
  if (!end.ours) {
    if (!thread.writer().write(thread.buffer(), bytes)) co_return -EIO;
    co_return co_await at_theirs(thread, end, Symbol::call_kernel_write, bytes.size());
  }
  OpenFile& file = *end.ours;
  if (!may_send(thread, file, {})) co_return -EPERM;
  give_labels(thread, file);
  ProxyCall frame = frame_of(Op::write, file, {-1});
  frame.first = bytes;
  const Answer got = co_await thread.ask(frame, file.is_socket ? file.interrupted(true) : 0);
  if (got.result() == -EPIPE && file.type == SOCK_STREAM)
    co_await thread.call(Symbol::call_send_sig, SIGPIPE, thread.task().at.value, 0);
  const int64_t done = std::min<int64_t>(got.result(), s(bytes.size()));
  if (done > 0) file.bytes_out += static_cast<uint64_t>(done);
  co_return done;
}

Routine<int64_t> move_pieces(Thread& thread, End* in, End* out, uint64_t count) {
  uint64_t done = 0;
  std::vector<std::byte> bytes;
  while (done < count) {
    const uint64_t wanted = std::min<uint64_t>(count - done, kPiece);
    const int64_t got = co_await read_piece(thread, *in, wanted, bytes);
    if (got <= 0) co_return done ? s(done) : got;
    const int64_t written = co_await write_piece(thread, *out, bytes);
    if (written < got) (void)co_await step_back(thread, *in, got - std::max<int64_t>(written, 0));
    if (written < 0 && done == 0) co_return written;
    done += static_cast<uint64_t>(std::max<int64_t>(written, 0));
    if (written < s(wanted)) break;
  }
  co_return s(done);
}

// Holds a file of the guest's own. -EBADF if there is none (O_PATH does not count, as for the kernel).
Routine<int64_t> hold(Thread& thread, End& end, uint64_t number) {
  if (end.ours) co_return 0;
  const Gva got(co_await thread.call(Symbol::call_fget, static_cast<uint32_t>(number)));
  if (!got || !thread.kernel().is_kernel_pointer(got)) co_return -EBADF;
  end.theirs = got;
  co_return 0;
}
Routine<int64_t> let_go(Thread& thread, const End& end) {
  if (end.theirs) co_await thread.call(Symbol::call_fput, end.theirs.value);
  co_return 0;
}

Routine<int64_t> send_file(Thread& thread, SystemCall call, End* in, End* out) {
  int64_t wrong = co_await hold(thread, *in, call.a[1]);
  if (!wrong) wrong = open_source(thread, *in);
  if (!wrong && s(call.a[3]) < 0) wrong = -EINVAL;
  if (!wrong) wrong = co_await hold(thread, *out, call.a[0]);
  if (!wrong) wrong = open_target(thread, *out);
  if (wrong) co_return wrong;
  co_return co_await move_pieces(thread, in, out, std::min(call.a[3], kMaxRwCount));
}

}  // namespace

Routine<Outcome> sendfile_call(Thread& thread, SystemCall call) {
  End out{thread.descriptors->find(call.a[0]), {}}, in{thread.descriptors->find(call.a[1]), {}};
  if (!in.ours && !out.ours) co_return Outcome{};
  const guest::Profile& profile = thread.kernel().profile();
  const bool can = profile.has(Symbol::call_fget) && profile.has(Symbol::call_fput) &&
                   profile.has(Symbol::call_kernel_read) && profile.has(Symbol::call_kernel_write) &&
                   profile.has(Field::file_pos) && co_await thread.need_buffer();
  if (!can) co_return answer(-EINVAL);
  if (call.a[2]) {
    const auto bytes = std::as_writable_bytes(std::span(&in.position, 1));
    if (const int64_t wrong = co_await thread.copy_in(call.a[2], bytes)) co_return answer(wrong);
    if (in.position < 0) co_return answer(-EINVAL);
  }
  const int64_t done = co_await send_file(thread, call, &in, &out);
  (void)co_await let_go(thread, in);
  (void)co_await let_go(thread, out);
  if (call.a[2] && done >= 0)
    if (const int64_t wrong = co_await thread.copy_out(call.a[2], std::as_bytes(std::span(&in.position, 1))))
      co_return answer(wrong);
  co_return answer(done);
}

}  // namespace oboro::hiding
