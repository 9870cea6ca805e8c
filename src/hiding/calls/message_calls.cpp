// Sends and receives on hidden sockets: bytes, and messages in several parts.

#include <cerrno>
#include <csignal>
#include <cstring>
#include <sys/socket.h>

#include "hiding/calls/calls.h"
#include "hiding/wait/waiting.h"

namespace oboro::hiding {

using guest::Symbol;
using proxy::kMaxData;
using proxy::Op;

namespace {

constexpr size_t kMaxMessages = 1024;

// struct user_msghdr and struct mmsghdr (include/linux/socket.h).
struct UserMessage {
  uint64_t name;
  uint32_t name_size, padding;
  uint64_t parts, part_count, control, control_size;
  uint32_t flags, padding2;
};
struct UserMessages {
  UserMessage message;
  uint32_t size, padding;
};

using Bytes = std::vector<std::byte>;

// Sends one message, or a piece of a stream. Returns the result of the call.
Routine<int64_t> send_parts(Thread& thread, std::shared_ptr<OpenFile> file, std::vector<Part> parts, Bytes address,
                            uint64_t flags) {
  const uint64_t size = total(parts);
  if (file->type == SOCK_DGRAM && size > kMaxDatagram) co_return -EMSGSIZE;
  if (flags & MSG_FASTOPEN) co_return refuse(thread, "", "TCP fast open", -EOPNOTSUPP);
  if (!address.empty())
    if (const int64_t wrong = wrong_address(*file, 1, address, false)) co_return wrong;
  uint64_t done = 0;
  Gathered data(thread);
  int64_t result = 0;
  do {
    result = co_await gather(thread, parts, done, data);
    // Asked for each piece: another thread may have read classified data while this one waited.
    if (result >= 0 && !may_send(thread, *file, address)) result = -EPERM;
    if (result < 0) break;
    ProxyCall frame = frame_of(Op::send, *file, {s(flags & ~uint64_t{MSG_NOSIGNAL})});
    frame.first = data.bytes;
    frame.second = address;
    const Answer got = co_await thread.ask(frame, file->interrupted(true));
    result = std::min<int64_t>(got.result(), s(data.bytes.size()));
    if (result < 0) break;
    done += static_cast<uint64_t>(result);
    if (static_cast<uint64_t>(result) < data.bytes.size()) break;
  } while (done < size);
  if (done || result >= 0) {
    file->bytes_out += done;
    co_return s(done);
  }
  if (result == -EPIPE && file->type == SOCK_STREAM && !(flags & MSG_NOSIGNAL))
    co_await thread.call(Symbol::call_send_sig, SIGPIPE, thread.task().at.value, 0);
  co_return result;
}

Routine<int64_t> send_message(Thread& thread, std::shared_ptr<OpenFile> file, UserMessage message, uint64_t flags) {
  Bytes address;
  if (const int64_t wrong = co_await copy_address(thread, message.name, message.name_size, address)) co_return wrong;
  std::vector<Part> parts;
  if (message.part_count > kMaxParts) co_return -EMSGSIZE;
  if (const int64_t wrong = co_await copy_parts(thread, message.parts, message.part_count, parts)) co_return wrong;
  if (message.control && message.control_size) (void)refuse(thread, "", "a control message (it is left out)", 0);
  co_return co_await send_parts(thread, file, std::move(parts), std::move(address), flags);
}

// The first one of the service's hidden files that a control message (struct cmsghdr) would pass on; null: none. left:
// how many more numbers may be looked at.
std::shared_ptr<OpenFile> hidden_in(const DescriptorTable& descriptors, std::span<const std::byte> control,
                                    size_t& left) {
  cmsghdr header{};
  while (control.size() >= sizeof header) {
    std::memcpy(&header, control.data(), sizeof header);
    if (header.cmsg_len < sizeof header || header.cmsg_len > control.size()) break;  // the kernel's EINVAL
    const auto data = control.subspan(sizeof header, header.cmsg_len - sizeof header);
    if (header.cmsg_level == SOL_SOCKET && header.cmsg_type == SCM_RIGHTS)
      for (size_t at = 0; at + sizeof(uint32_t) <= data.size() && left > 0; at += sizeof(uint32_t), --left) {
        uint32_t number = 0;
        std::memcpy(&number, data.data() + at, sizeof number);
        if (auto file = descriptors.find(number)) return file;
      }
    control = control.subspan(std::min(CMSG_ALIGN(header.cmsg_len), control.size()));
  }
  return nullptr;
}

// Messages on a socket of the guest's own. The kernel finds no file at a hidden number, says EBADF, and looks no
// further. The log says why.
Routine<Outcome> pass_descriptors(Thread& thread, uint64_t user, size_t size, uint64_t count) {
  constexpr size_t kMaxControl = 2048;  // SCM_MAX_FD is 253
  size_t left = 1024;                   // the vCPU stands still for all of this
  Bytes control;
  for (uint64_t i = 0; i < count && left > 0 && !thread.descriptors->is_empty(); ++i) {
    UserMessage message{};
    if (co_await thread.copy_in(user + i * size, std::as_writable_bytes(std::span(&message, 1)))) break;
    if (!message.control || !message.control_size) continue;
    control.resize(std::min<uint64_t>(message.control_size, kMaxControl));
    if (co_await thread.copy_in(message.control, control)) break;
    if (const auto file = hidden_in(*thread.descriptors, control, left)) {
      (void)refuse(thread, file->path, "passing on a descriptor", -EBADF);
      break;
    }
  }
  co_return Outcome{};
}

// The result of one receive.
struct Received {
  int64_t result = 0;  // as the call's own
  uint32_t flags = 0;  // msg_flags
  Bytes address;
};

// Receives into the parts. As a frame has an end, a stream that is to give all at once (MSG_WAITALL) is asked until it
// has.
Routine<Received> receive_parts(Thread& thread, std::shared_ptr<OpenFile> file, std::vector<Part> parts,
                                uint64_t flags) {
  Received out;
  if (flags & MSG_ERRQUEUE) {  // never waits; a proxy keeps no such queue
    out.result = -EAGAIN;
    co_return out;
  }
  const bool stream = file->type == SOCK_STREAM;
  const bool all = stream && (flags & MSG_WAITALL) && !(flags & MSG_PEEK);
  const uint64_t size = total(parts);
  uint64_t done = 0;
  for (;;) {
    const uint64_t wanted = std::min<uint64_t>(size - done, kMaxData);
    const Answer got = co_await thread.ask(frame_of(Op::receive, *file, {s(wanted), s(static_cast<uint32_t>(flags))}),
                                           file->interrupted(false));
    if (got.result() < 0) {
      out.result = done ? s(done) : got.result();
      co_return out;
    }
    const auto data = got.frame.first.first(std::min<size_t>(got.frame.first.size(), wanted));
    const int64_t given = co_await scatter(thread, parts, done, data);
    const auto fits = static_cast<size_t>(std::max<int64_t>(given, 0));
    if (fits < data.size()) {
      (void)co_await give_back(thread, file, data.subspan(fits), flags);
      if (done + fits == 0 || !stream) {
        out.result = -EFAULT;
        co_return out;
      }
    }
    if (done == 0) {
      out.flags = static_cast<uint32_t>(got.frame.arguments[1]);
      out.address.assign(got.frame.second.begin(), got.frame.second.end());
    }
    file->bytes_in += fits;
    done += fits;
    out.result = s(done);
    if (all && fits == wanted && done < size) continue;
    // MSG_TRUNC: a datagram's true size, or how much of a stream was thrown away. Otherwise no more than was given,
    // whatever the proxy says.
    if ((flags & MSG_TRUNC) && fits == data.size())
      out.result = stream ? std::min<int64_t>(got.result(), s(size)) : std::min<int64_t>(got.result(), INT32_MAX);
    co_return out;
  }
}

// message: as the caller gave it. Its results are filled in.
Routine<int64_t> receive_message(Thread& thread, std::shared_ptr<OpenFile> file, UserMessage* message, uint64_t flags) {
  std::vector<Part> parts;
  if (message->part_count > kMaxParts) co_return -EMSGSIZE;
  if (const int64_t wrong = co_await copy_parts(thread, message->parts, message->part_count, parts)) co_return wrong;
  const Received got = co_await receive_parts(thread, file, std::move(parts), flags);
  if (got.result < 0) co_return got.result;
  if (message->name) {
    const size_t known = std::min<size_t>(got.address.size(), message->name_size);
    if (const int64_t wrong = co_await thread.copy_out(message->name, std::span(got.address).first(known)))
      co_return wrong;
    message->name_size = static_cast<uint32_t>(got.address.size());
  }
  message->control_size = 0;
  message->flags = got.flags;
  co_return got.result;
}

Routine<int64_t> give_message(Thread& thread, uint64_t user, UserMessage message) {
  int64_t wrong = co_await thread.copy_out(user + offsetof(UserMessage, name_size),
                                           std::as_bytes(std::span(&message.name_size, 1)));
  if (!wrong)
    wrong = co_await thread.copy_out(user + offsetof(UserMessage, control_size),
                                     std::as_bytes(std::span(&message.control_size, 1)));
  if (!wrong)
    wrong = co_await thread.copy_out(user + offsetof(UserMessage, flags), std::as_bytes(std::span(&message.flags, 1)));
  co_return wrong;
}

// The timeout is looked at as the kernel does: only between two messages.

}  // namespace

Routine<Outcome> sendto_call(Thread& thread, SystemCall call) {
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  Bytes address;
  if ((error = co_await copy_address(thread, call.a[4], call.a[5], address))) co_return answer(error);
  std::vector<Part> parts{{call.a[1], call.a[2]}};
  co_return answer(co_await send_parts(thread, file, std::move(parts), std::move(address), call.a[3]));
}

Routine<Outcome> sendmsg_call(Thread& thread, SystemCall call) {
  if (!thread.descriptors->has(call.a[0]))
    co_return co_await pass_descriptors(thread, call.a[1], sizeof(UserMessage), 1);
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  UserMessage message{};
  if ((error = co_await thread.copy_in(call.a[1], std::as_writable_bytes(std::span(&message, 1)))))
    co_return answer(error);
  co_return answer(co_await send_message(thread, file, message, call.a[2]));
}

Routine<Outcome> sendmmsg_call(Thread& thread, SystemCall call) {
  const uint64_t count = std::min<uint64_t>(static_cast<uint32_t>(call.a[2]), kMaxMessages);
  if (!thread.descriptors->has(call.a[0]))
    co_return co_await pass_descriptors(thread, call.a[1], sizeof(UserMessages), count);
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  uint64_t done = 0;
  for (; done < count; ++done) {
    const uint64_t at = call.a[1] + done * sizeof(UserMessages);
    UserMessages one{};
    error = co_await thread.copy_in(at, std::as_writable_bytes(std::span(&one, 1)));
    if (!error) error = co_await send_message(thread, file, one.message, call.a[3]);
    if (error < 0) break;
    one.size = static_cast<uint32_t>(error);
    error = co_await thread.copy_out(at + offsetof(UserMessages, size), std::as_bytes(std::span(&one.size, 1)));
    if (error) break;
  }
  co_return answer(done ? s(done) : error);
}

Routine<Outcome> recvfrom_call(Thread& thread, SystemCall call) {
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  std::vector<Part> parts{{call.a[1], call.a[2]}};
  const Received got = co_await receive_parts(thread, file, std::move(parts), call.a[3]);
  if (got.result >= 0 && call.a[4]) error = co_await give_address(thread, call.a[4], call.a[5], got.address);
  co_return answer(error ? error : got.result);
}

Routine<Outcome> recvmsg_call(Thread& thread, SystemCall call) {
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  UserMessage message{};
  if ((error = co_await thread.copy_in(call.a[1], std::as_writable_bytes(std::span(&message, 1)))))
    co_return answer(error);
  const int64_t result = co_await receive_message(thread, file, &message, call.a[2]);
  if (result < 0) co_return answer(result);
  error = co_await give_message(thread, call.a[1], message);
  co_return answer(error ? error : result);
}

Routine<Outcome> recvmmsg_call(Thread& thread, SystemCall call) {
  constexpr uint64_t kWaitForOne = 0x10000;  // MSG_WAITFORONE
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  int64_t timeout = kForEver;
  if ((error = co_await copy_timeout(thread, call.a[4], false, timeout))) co_return answer(error);
  const uint64_t begin = now_ns();
  const uint64_t count = std::min<uint64_t>(static_cast<uint32_t>(call.a[2]), kMaxMessages);
  uint64_t flags = call.a[3] & ~kWaitForOne;
  uint64_t done = 0;
  for (; done < count; ++done) {
    const uint64_t at = call.a[1] + done * sizeof(UserMessages);
    UserMessages one{};
    error = co_await thread.copy_in(at, std::as_writable_bytes(std::span(&one, 1)));
    if (!error) error = co_await receive_message(thread, file, &one.message, flags);
    if (error < 0) break;
    one.size = static_cast<uint32_t>(error);
    error = co_await give_message(thread, at, one.message);
    if (!error)
      error = co_await thread.copy_out(at + offsetof(UserMessages, size), std::as_bytes(std::span(&one.size, 1)));
    if (error) break;
    if (call.a[3] & kWaitForOne) flags |= MSG_DONTWAIT;
    if (timeout >= 0 && now_ns() - begin >= static_cast<uint64_t>(timeout)) {
      ++done;
      break;
    }
  }
  if (done) (void)co_await copy_time_left(thread, call.a[4], false, timeout, begin);
  co_return answer(done ? s(done) : error);
}

}  // namespace oboro::hiding
