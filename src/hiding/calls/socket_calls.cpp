// Sockets. Where the service's network is hidden, sockets of the Internet families are the proxy's from the start.

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "hiding/calls/calls.h"
#include "hiding/wait/waiting.h"

namespace oboro::hiding {

using guest::Symbol;
using proxy::kMaxData;
using proxy::Op;

namespace {

constexpr size_t kShortIpv6 = 24;  // the kernel accepts a struct sockaddr_in6 without its scope
constexpr size_t kMaxAddress = sizeof(sockaddr_storage);

Routine<Outcome> socket_call(Thread& thread, SystemCall call) {
  constexpr uint64_t kTypeMask = 0xf;
  const auto family = static_cast<int>(call.a[0]);
  const auto type = static_cast<int>(call.a[1] & kTypeMask);
  if (!thread.service().network || (family != AF_INET && family != AF_INET6)) co_return Outcome{};
  if (type > SOCK_PACKET || (call.a[1] & 0xffffffff & ~(kTypeMask | SOCK_NONBLOCK | SOCK_CLOEXEC)))
    co_return answer(-EINVAL);
  if (type != SOCK_STREAM && type != SOCK_DGRAM) co_return answer(refuse(thread, "", "a raw socket", -EPERM));
  ProxyCall frame;
  frame.op = Op::socket;
  frame.arguments = {family, s(call.a[1] & (kTypeMask | SOCK_NONBLOCK)), static_cast<int32_t>(call.a[2])};
  const Answer got = co_await thread.ask(frame);
  if (got.result() < 0) co_return answer(got.result());
  auto file = thread.open_file(got);
  file->is_socket = true;
  file->family = family;
  file->type = type;
  file->flags = O_RDWR | (call.a[1] & SOCK_NONBLOCK ? O_NONBLOCK : 0);
  co_return answer(co_await thread.reserve(std::move(file), call.a[1] & SOCK_CLOEXEC));
}

// connect and bind.
Routine<Outcome> address_call(Thread& thread, SystemCall call) {
  const bool connects = call.number == sys::connect;
  if (!thread.descriptors->has(call.a[0]))
    co_return co_await name_of_unix_socket(thread, call.a[1], call.a[2], connects ? "connect" : "bind");
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  std::vector<std::byte> address;
  if ((error = co_await copy_address(thread, call.a[1], call.a[2], address))) co_return answer(error);
  if ((error = wrong_address(*file, call.a[1], address, connects))) co_return answer(error);
  ProxyCall frame = frame_of(connects ? Op::connect : Op::bind, *file);
  frame.first = address;
  const Answer got = co_await thread.ask(frame, connects ? file->interrupted(true) : 0);
  report_socket(thread, *file, address, {.operation = connects ? "connect" : "bind"}, got.result());
  co_return answer(got.result());
}

Routine<Outcome> listen_call(Thread& thread, SystemCall call) {
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  if (file->type != SOCK_STREAM) co_return answer(-EOPNOTSUPP);
  const Answer got = co_await thread.ask(frame_of(Op::listen, *file, {static_cast<int32_t>(call.a[1])}));
  report(thread, *file, {.operation = "listen"}, got.result());
  co_return answer(got.result());
}

Routine<Outcome> accept_call(Thread& thread, SystemCall call) {
  int64_t error = 0;
  const auto listener = socket_of(thread, call, error);
  if (!listener) co_return answer(error);
  const uint64_t flags = call.number == sys::accept4 ? call.a[3] : 0;
  if (flags & ~uint64_t{SOCK_NONBLOCK | SOCK_CLOEXEC}) co_return answer(-EINVAL);
  const Answer got =
      co_await thread.ask(frame_of(Op::accept, *listener, {s(flags & SOCK_NONBLOCK)}), listener->interrupted(false));
  if (got.result() < 0) co_return answer(got.result());
  auto file = thread.open_file(got);
  file->is_socket = true;
  file->family = listener->family;
  file->type = listener->type;
  file->flags = O_RDWR | (flags & SOCK_NONBLOCK ? O_NONBLOCK : 0);
  file->receive_limited = listener->receive_limited.load();
  file->send_limited = listener->send_limited.load();
  report_socket(thread, *file, got.frame.first, {.operation = "accept"}, 0);
  if ((error = co_await give_address(thread, call.a[1], call.a[2], got.frame.first))) co_return answer(error);
  co_return answer(co_await thread.reserve(std::move(file), flags & SOCK_CLOEXEC));
}

Routine<Outcome> shutdown_call(Thread& thread, SystemCall call) {
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  const Answer got = co_await thread.ask(frame_of(Op::shutdown, *file, {static_cast<int32_t>(call.a[1])}));
  co_return answer(got.result());
}

Routine<Outcome> name_call(Thread& thread, SystemCall call) {
  int64_t error = 0;
  const auto file = socket_of(thread, call, error);
  if (!file) co_return answer(error);
  const Answer got =
      co_await thread.ask(frame_of(call.number == sys::getpeername ? Op::getpeername : Op::getsockname, *file));
  if (got.result() < 0) co_return answer(got.result());
  if (!call.a[1]) co_return answer(-EFAULT);
  co_return answer(co_await give_address(thread, call.a[1], call.a[2], got.frame.first));
}

}  // namespace

Routine<int64_t> copy_address(Thread& thread, uint64_t user, uint64_t size, std::vector<std::byte>& out) {
  out.clear();
  if (!user) co_return 0;
  if (static_cast<uint32_t>(size) > kMaxAddress) co_return -EINVAL;
  out.resize(static_cast<uint32_t>(size));
  co_return co_await thread.copy_in(user, out);
}

Routine<int64_t> give_address(Thread& thread, uint64_t user, uint64_t size_user, std::span<const std::byte> address) {
  if (!user) co_return 0;
  int32_t size = 0;
  if (const int64_t wrong = co_await thread.copy_in(size_user, std::as_writable_bytes(std::span(&size, 1))))
    co_return wrong;
  if (size < 0) co_return -EINVAL;
  if (const int64_t wrong = co_await thread.copy_out(user, address.first(std::min<size_t>(address.size(), size))))
    co_return wrong;
  size = static_cast<int32_t>(address.size());
  co_return co_await thread.copy_out(size_user, std::as_bytes(std::span(&size, 1)));
}

int64_t wrong_address(const OpenFile& file, uint64_t user, std::span<const std::byte> address, bool may_dissolve) {
  if (!user) return -EFAULT;
  uint16_t family = 0;
  if (address.size() < sizeof family) return -EINVAL;
  std::memcpy(&family, address.data(), sizeof family);
  if (may_dissolve && family == AF_UNSPEC) return 0;
  if (address.size() < (file.family == AF_INET6 ? kShortIpv6 : sizeof(sockaddr_in))) return -EINVAL;
  return family == file.family || (family == AF_INET && file.family == AF_INET6) ? 0 : -EAFNOSUPPORT;
}

std::shared_ptr<OpenFile> socket_of(Thread& thread, const SystemCall& call, int64_t& error) {
  auto file = file_of(thread, call, 0);
  error = !file ? -EBADF : !file->is_socket ? -ENOTSOCK : 0;
  if (error) file = nullptr;
  return file;
}

const CallHandler* socket_call(uint64_t number) {
  static constexpr struct {
    uint64_t number;
    CallHandler handler;
  } kCalls[] = {
      {sys::socket, {socket_call}},
      {sys::connect, {address_call}},
      {sys::bind, {address_call}},
      {sys::listen, {listen_call, 0}},
      {sys::accept, {accept_call, 0}},
      {sys::accept4, {accept_call, 0}},
      {sys::sendto, {sendto_call, 0}},
      {sys::sendmsg, {sendmsg_call}},
      {sys::sendmmsg, {sendmmsg_call}},
      {sys::recvfrom, {recvfrom_call, 0}},
      {sys::recvmsg, {recvmsg_call, 0}},
      {sys::recvmmsg, {recvmmsg_call, 0}},
      {sys::shutdown, {shutdown_call, 0}},
      {sys::setsockopt, {setsockopt_call, 0}},
      {sys::getsockopt, {getsockopt_call, 0}},
      {sys::getsockname, {name_call, 0}},
      {sys::getpeername, {name_call, 0}},
  };
  for (const auto& [known, handler] : kCalls)
    if (known == number) return &handler;
  return nullptr;
}

}  // namespace oboro::hiding
