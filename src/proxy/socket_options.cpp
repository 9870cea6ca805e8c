// The options of a hidden service's sockets. A few concern the proxy itself, and never reach the kernel.

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "proxy/bytes.h"
#include "proxy/call_result.h"
#include "proxy/sockets.h"

namespace oboro::proxy {
namespace {

constexpr size_t kMaxOption = 256;

// Options that need no right, concern only their socket, and choose neither an address nor a device. Options that ask
// for control messages are left out, because control messages do not come through: the program is to know that.
constexpr SocketOption kOptions[] = {
    {SOL_SOCKET, SO_REUSEADDR},
    {SOL_SOCKET, SO_REUSEPORT},
    {SOL_SOCKET, SO_KEEPALIVE},
    {SOL_SOCKET, SO_SNDBUF},
    {SOL_SOCKET, SO_RCVBUF},
    {SOL_SOCKET, SO_LINGER},
    {SOL_SOCKET, SO_ERROR},
    {SOL_SOCKET, SO_TYPE},
    {SOL_SOCKET, SO_DOMAIN},
    {SOL_SOCKET, SO_PROTOCOL},
    {SOL_SOCKET, SO_ACCEPTCONN},
    {SOL_SOCKET, SO_BROADCAST},
    {SOL_SOCKET, SO_OOBINLINE},
    {SOL_SOCKET, SO_RCVLOWAT},
    {SOL_SOCKET, SO_SNDLOWAT},
    {SOL_SOCKET, SO_PRIORITY},
    {IPPROTO_TCP, TCP_NODELAY},
    {IPPROTO_TCP, TCP_MAXSEG},
    {IPPROTO_TCP, TCP_CORK},
    {IPPROTO_TCP, TCP_KEEPIDLE},
    {IPPROTO_TCP, TCP_KEEPINTVL},
    {IPPROTO_TCP, TCP_KEEPCNT},
    {IPPROTO_TCP, TCP_SYNCNT},
    {IPPROTO_TCP, TCP_LINGER2},
    {IPPROTO_TCP, TCP_QUICKACK},
    {IPPROTO_TCP, TCP_USER_TIMEOUT},
    {IPPROTO_TCP, TCP_INFO},
    {IPPROTO_TCP, TCP_CONGESTION},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP},
    {IPPROTO_IP, IP_TOS},
    {IPPROTO_IP, IP_TTL},
    {IPPROTO_IP, IP_MTU},
    {IPPROTO_IP, IP_MTU_DISCOVER},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT},
    {IPPROTO_IP, IP_MULTICAST_TTL},
    {IPPROTO_IP, IP_MULTICAST_LOOP},
    {IPPROTO_IP, IP_MULTICAST_ALL},
    {IPPROTO_IPV6, IPV6_V6ONLY},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS},
    {IPPROTO_IPV6, IPV6_TCLASS},
    {IPPROTO_IPV6, IPV6_MTU},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER},
    {IPPROTO_IPV6, IPV6_DONTFRAG},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP},
    {IPPROTO_IPV6, IPV6_MULTICAST_ALL},
};

bool known(int64_t level, int64_t name) {
  return std::any_of(std::begin(kOptions), std::end(kOptions),
                     [&](const SocketOption& option) { return option.level == level && option.name == name; });
}
bool known_level(int64_t level) {
  return std::any_of(std::begin(kOptions), std::end(kOptions),
                     [&](const SocketOption& option) { return option.level == level; });
}
int64_t* timeout_of(Socket& socket, int64_t level, int64_t name) {
  if (level != SOL_SOCKET) return nullptr;
  return name == SO_RCVTIMEO ? &socket.receive_timeout_us : name == SO_SNDTIMEO ? &socket.send_timeout_us : nullptr;
}

// IP_RECVERR and IPV6_RECVERR. Nothing takes errors out of the kernel's queue, so the socket would be ready for ever
// after the first one. The service has a queue that stays empty.
bool is_error_queue(int64_t level, int64_t name) {
  return (level == IPPROTO_IP && name == IP_RECVERR) || (level == IPPROTO_IPV6 && name == IPV6_RECVERR);
}
bool& error_queue_of(Socket& socket, int64_t level) {
  return level == IPPROTO_IPV6 ? socket.error_queue6 : socket.error_queue4;
}
// A socket of IPv6 has the options of IPv4, too, but not the other way round.
bool has_level(const Socket& socket, int64_t level) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return level != IPPROTO_IPV6 ||
         (getsockopt(socket.fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_INET6);
}
int64_t get_error_queue(Socket& socket, const Frame& call, std::vector<std::byte>& out) {
  const int64_t level = call.arguments[0];
  if (!has_level(socket, level)) return -EOPNOTSUPP;
  const int value = error_queue_of(socket, level);
  put(out, &value, std::min<size_t>(sizeof value, static_cast<size_t>(call.arguments[2])));
  return 0;
}
int64_t set_error_queue(Socket& socket, const Frame& call) {
  const int64_t level = call.arguments[0];
  if (!has_level(socket, level)) return -ENOPROTOOPT;
  int value = 0;
  if (!read_as(call.first, value)) {
    if (level == IPPROTO_IPV6) return -EINVAL;
    value = call.first.empty() ? 0 : static_cast<int>(call.first[0]);
  }
  error_queue_of(socket, level) = value != 0;
  return 0;
}

int64_t set_linger(Socket& socket, const Frame& call) {
  linger value{};
  if (!read_as(call.first, value)) return -EINVAL;
  socket.lingers = value.l_onoff && value.l_linger != 0;
  socket.linger_seconds = value.l_linger;
  // Without a time the close is a reset, which blocks nobody.
  if (socket.lingers) value = {};
  return result(setsockopt(socket.fd.get(), SOL_SOCKET, SO_LINGER, &value, sizeof value));
}

}  // namespace

std::span<const SocketOption> socket_options() { return kOptions; }

int64_t get_option(Socket& socket, const Frame& call, std::vector<std::byte>& out) {
  const int64_t level = call.arguments[0], name = call.arguments[1];
  if (call.arguments[2] < 0) return -EINVAL;
  if (const int64_t* timeout = timeout_of(socket, level, name)) {
    const timeval value{*timeout / 1000000, *timeout % 1000000};
    put(out, &value, std::min<size_t>(sizeof value, static_cast<size_t>(call.arguments[2])));
    return 0;
  }
  if (is_error_queue(level, name)) return get_error_queue(socket, call, out);
  if (!known(level, name)) return known_level(level) ? -ENOPROTOOPT : -EOPNOTSUPP;
  if (level == SOL_SOCKET && name == SO_LINGER && socket.lingers) {
    const linger value{1, socket.linger_seconds};
    put(out, &value, std::min<size_t>(sizeof value, static_cast<size_t>(call.arguments[2])));
    return 0;
  }
  out.resize(static_cast<size_t>(std::min<int64_t>(call.arguments[2], kMaxOption)));
  socklen_t size = static_cast<socklen_t>(out.size());
  if (getsockopt(socket.fd.get(), static_cast<int>(level), static_cast<int>(name), out.data(), &size) != 0)
    return failed();
  out.resize(std::min<size_t>(size, out.size()));
  return 0;
}

int64_t set_option(Socket& socket, const Frame& call) {
  const int64_t level = call.arguments[0], name = call.arguments[1];
  if (int64_t* timeout = timeout_of(socket, level, name)) {
    timeval value{};
    if (!read_as(call.first, value)) return -EINVAL;
    if (value.tv_usec < 0 || value.tv_usec >= 1000000) return -EDOM;
    *timeout = value.tv_sec < 0 ? 0 : std::min<int64_t>(value.tv_sec, 1 << 30) * 1000000 + value.tv_usec;
    return 0;
  }
  if (is_error_queue(level, name)) return set_error_queue(socket, call);
  if (!known(level, name)) return -ENOPROTOOPT;
  if (call.first.size() > kMaxOption) return -EINVAL;
  if (level == SOL_SOCKET && name == SO_LINGER) return set_linger(socket, call);
  return result(setsockopt(socket.fd.get(), static_cast<int>(level), static_cast<int>(name), call.first.data(),
                           static_cast<socklen_t>(call.first.size())));
}

}  // namespace oboro::proxy
