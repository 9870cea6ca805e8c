// Reading and writing files and sockets that are open in the proxy, with each form of a buffer.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fmt/format.h>
#include <sys/socket.h>

#include "hiding/calls/calls.h"

namespace oboro::hiding {

using guest::Symbol;
using proxy::kMaxData;
using proxy::Op;

namespace {

// The result of a wait for data that a signal ends. 0 for files, which are not interrupted.
int64_t interrupted(const OpenFile& file, bool sends) { return file.is_socket ? file.interrupted(sends) : 0; }

// Writes bytes to `file`, in as many calls to the proxy as it takes.
Routine<int64_t> write_parts(Thread& thread, std::shared_ptr<OpenFile> file, std::vector<Part> parts, int64_t offset) {
  const uint64_t size = total(parts);
  uint64_t done = 0;
  int64_t error = 0;
  Gathered data(thread);
  const std::vector<std::byte>& bytes = data.bytes;
  do {
    error = co_await gather(thread, parts, done, data);
    // Asked for each piece: another thread may have read classified data while this one waited.
    if (!error && !may_send(thread, *file, {})) error = -EPERM;
    if (error) break;
    give_labels(thread, *file);
    ProxyCall frame = frame_of(Op::write, *file, {offset < 0 ? -1 : offset + static_cast<int64_t>(done)});
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
      // The position goes back to the end of the bytes that were given.
      const auto back = static_cast<int64_t>(fits) - static_cast<int64_t>(bytes.size());
      if (file->is_socket) (void)co_await give_back(thread, file, bytes.subspan(fits));
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
  std::vector<Part> parts{{call.a[1], call.a[2]}};
  if (vector) {
    if (const int64_t wrong = co_await copy_parts(thread, call.a[1], call.a[2], parts)) co_return answer(wrong);
  }
  int64_t offset = -1;
  bool synchronous = false;
  if (positioned) {
    offset = static_cast<int64_t>(call.a[3]);
    // preadv2 and pwritev2 take -1 for "at the current position"; the others take no negative offset.
    const bool second = call.number == sys::preadv2 || call.number == sys::pwritev2;
    constexpr uint64_t kHints = 0x1 | 0x2 | 0x4 | 0x8;  // RWF_HIPRI, DSYNC, SYNC, NOWAIT
    if (second && (call.a[5] & ~kHints))
      co_return answer(refuse(thread, file->path, fmt::format("RWF_ flags {:#x}", call.a[5]), -EOPNOTSUPP));
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

}  // namespace

Routine<Outcome> read_call(Thread& t, SystemCall c) { return move_data(t, c, false, false, false); }
Routine<Outcome> write_call(Thread& t, SystemCall c) { return move_data(t, c, true, false, false); }

Routine<int64_t> give_back(Thread& thread, std::shared_ptr<OpenFile> file, std::span<const std::byte> bytes,
                           uint64_t flags) {
  if (file->type != SOCK_STREAM || bytes.empty() || flags & (MSG_PEEK | MSG_OOB)) co_return 0;
  ProxyCall frame = frame_of(Op::give_back, *file);
  frame.first = bytes;
  const Answer got = co_await thread.ask(frame);
  co_return got.result();
}

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

Routine<int64_t> gather(Thread& thread, const std::vector<Part>& parts, uint64_t skip, Gathered& gathered) {
  std::vector<std::byte>& out = gathered.bytes;
  out.clear();
  const size_t most = thread.service().proxy()->outgoing().full() ? kMaxDatagram : kMaxData;
  for (const Part& part : parts) {
    if (skip >= part.size) {
      skip -= part.size;
      continue;
    }
    const size_t at = out.size();
    const size_t size = std::min<uint64_t>(part.size - skip, most - at);
    out.resize(at + size);
    gathered.share.set(out.size());
    const int64_t got = co_await thread.copy_some_in(part.base + skip, std::span(out).subspan(at));
    out.resize(at + static_cast<size_t>(std::max<int64_t>(got, 0)));
    if (got < 0 && at == 0) co_return got;
    if (static_cast<size_t>(std::max<int64_t>(got, 0)) < size || out.size() == most) break;
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

const CallHandler* transfer_call(uint64_t number) {
  static constexpr struct {
    uint64_t number;
    CallHandler handler;
  } kCalls[] = {
      {sys::read, {read_call, 0}},        {sys::pread64, {pread_call, 0}},  {sys::readv, {readv_call, 0}},
      {sys::preadv, {preadv_call, 0}},    {sys::preadv2, {preadv_call, 0}}, {sys::write, {write_call, 0}},
      {sys::pwrite64, {pwrite_call, 0}},  {sys::writev, {writev_call, 0}},  {sys::pwritev, {pwritev_call, 0}},
      {sys::pwritev2, {pwritev_call, 0}},
  };
  for (const auto& [known, handler] : kCalls)
    if (known == number) return &handler;
  return nullptr;
}

}  // namespace oboro::hiding
