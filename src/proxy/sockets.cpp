#include "proxy/sockets.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "proxy/bytes.h"
#include "proxy/call_result.h"

namespace oboro::proxy {
namespace {

constexpr size_t kMaxPolled = 1024;
constexpr int kSendFlags = MSG_DONTWAIT | MSG_MORE | MSG_OOB | MSG_EOR | MSG_NOSIGNAL;
constexpr int kReceiveFlags = MSG_DONTWAIT | MSG_PEEK | MSG_WAITALL | MSG_TRUNC | MSG_OOB;

// A socket address as the kernel wants it. It is a copy, because the parts of a frame have no alignment.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  sockaddr* at() { return reinterpret_cast<sockaddr*>(&storage); }
};
SocketAddress kernel_address(std::span<const std::byte> raw) {
  SocketAddress address;
  address.size = static_cast<socklen_t>(std::min(raw.size(), sizeof address.storage));
  std::memcpy(&address.storage, raw.data(), address.size);
  return address;
}

bool would_block(int64_t result) { return result == -EAGAIN || result == -EWOULDBLOCK; }

// One attempt at a call.
class Attempt {
 public:
  Attempt(Destinations& destinations, Handles& handles, const Frame& call, Progress& progress)
      : destinations_(destinations), handles_(handles), call_(call), progress_(progress) {}

  std::optional<Done> run() {
    out_.result = dispatch();
    if (waits_) return std::nullopt;
    if (out_.result < 0) {
      out_.first.clear();
      out_.second.clear();
    }
    return std::move(out_);
  }

 private:
  int64_t argument(size_t i) const { return call_.arguments[i]; }
  int flags(int64_t of, int allowed) const { return static_cast<int>(of) & allowed; }

  int64_t dispatch() {
    if (call_.op == Op::socket) return socket_call();
    if (call_.op == Op::poll) return poll_call();
    const std::shared_ptr<Handle> handle = handles_.find(call_.handle);
    if (!handle) return -EBADF;
    if (call_.op == Op::ioctl) return ioctl_call(*handle);
    if (handle->kind != Handle::Kind::socket) return -ENOTSOCK;
    Socket& socket = static_cast<Socket&>(*handle);
    switch (call_.op) {
      case Op::connect:
        return connect_call(socket);
      case Op::bind:
        return bind_call(socket);
      case Op::listen:
        return listen_call(socket);
      case Op::accept:
        return accept_call(socket);
      case Op::send:
        return send_call(socket);
      case Op::receive:
        return receive_call(socket);
      case Op::give_back:
        return give_back_call(socket);
      case Op::shutdown:
        return result(shutdown(socket.fd.get(), static_cast<int>(std::clamp<int64_t>(argument(0), -1, 3))));
      case Op::getsockopt:
        return get_option(socket, call_, out_.first);
      case Op::setsockopt:
        return set_option(socket, call_);
      case Op::getsockname:
        return name_call(socket, getsockname);
      case Op::getpeername:
        return name_call(socket, getpeername);
      default:
        return -ENOSYS;
    }
  }

  // The call would block: it waits, unless the service asked not to.
  int64_t wait(const Socket& socket, int64_t otherwise, bool dont_wait = false) {
    if (socket.nonblocking || dont_wait) return otherwise;
    waits_ = true;
    return 0;
  }

  int64_t socket_call() {
    const int64_t type = argument(1) & ~int64_t{SOCK_CLOEXEC | SOCK_NONBLOCK};
    if (!destinations_.any()) return -EACCES;
    if (argument(0) != AF_INET && argument(0) != AF_INET6) return -EAFNOSUPPORT;
    if (type != SOCK_STREAM && type != SOCK_DGRAM) return -ESOCKTNOSUPPORT;
    const int64_t protocol = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
    if (argument(2) != 0 && argument(2) != protocol) return -EPROTONOSUPPORT;
    UniqueFd fd(::socket(static_cast<int>(argument(0)), static_cast<int>(type) | SOCK_CLOEXEC | SOCK_NONBLOCK,
                         static_cast<int>(argument(2))));
    if (!fd) return failed();
    return add(std::make_shared<Socket>(std::move(fd), type == SOCK_STREAM), argument(1) & SOCK_NONBLOCK);
  }
  int64_t add(std::shared_ptr<Socket> socket, bool nonblocking) {
    socket->nonblocking = nonblocking;
    const uint32_t number = handles_.add(std::move(socket));
    return number ? int64_t{number} : -ENFILE;
  }

  bool allows(const Socket& socket, const Endpoint& to) const {
    return destinations_.allows(to, socket.stream ? Protocol::tcp : Protocol::udp);
  }
  // A host that was another one when the socket was connected may have become this one, for a datagram socket, or for a
  // connection that was asked for long before it was made.
  bool still_allowed(const Socket& socket) const { return !socket.peer || allows(socket, *socket.peer); }

  int64_t connect_call(Socket& socket) {
    if (progress_.started) {
      pollfd ready{socket.fd.get(), POLLOUT, 0};
      if (poll(&ready, 1, 0) == 0) return wait(socket, -EINPROGRESS);
      int error = 0;
      socklen_t size = sizeof error;
      if (getsockopt(socket.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return failed();
      // For the kernel, only a second connect() ends the first. For the service, its own second connect() gives
      // EISCONN.
      SocketAddress address = kernel_address(call_.first);
      if (error == 0) (void)connect(socket.fd.get(), address.at(), address.size);
      return -error;
    }
    sa_family_t family = AF_UNSPEC;
    if (!read_as(call_.first, family)) return -EINVAL;
    // AF_UNSPEC dissolves a datagram socket's connection.
    std::optional<Endpoint> to = endpoint_of(call_.first);
    if (family != AF_UNSPEC && !(to && allows(socket, *to))) return -ENETUNREACH;
    SocketAddress address = kernel_address(call_.first);
    const int64_t done = result(connect(socket.fd.get(), address.at(), address.size));
    // 0 may be the end of an earlier connect(), to another peer.
    if (SocketAddress peer; done == 0 && getpeername(socket.fd.get(), peer.at(), &peer.size) == 0)
      socket.peer = endpoint_of(std::as_bytes(std::span(&peer.storage, 1)));
    else if (done == 0 || done == -EINPROGRESS)
      socket.peer = std::move(to);
    // An earlier call was interrupted, and this one begins it anew. Linux waits on, unless the socket does not block.
    progress_.joined = done == -EALREADY;
    if (done != -EINPROGRESS && !progress_.joined) return done;
    progress_.started = true;
    return wait(socket, done);
  }

  int64_t bind_call(Socket& socket) {
    const auto address = endpoint_of(call_.first);
    if (!address) return -EAFNOSUPPORT;
    if (address->port != 0 && !destinations_.may_bind(address->port)) return -EACCES;
    SocketAddress raw = kernel_address(call_.first);
    return result(bind(socket.fd.get(), raw.at(), raw.size));
  }

  int64_t listen_call(Socket& socket) {
    // Without an address the kernel would choose a port of this host for it.
    SocketAddress own;
    if (getsockname(socket.fd.get(), own.at(), &own.size) != 0) return failed();
    const auto address = endpoint_of(std::as_bytes(std::span(&own.storage, 1)));
    if (!address || !destinations_.may_bind(address->port)) return -EACCES;
    return result(listen(socket.fd.get(), static_cast<int>(std::clamp<int64_t>(argument(0), 0, 128))));
  }

  int64_t accept_call(Socket& socket) {
    SocketAddress peer;
    const int64_t done = result(accept4(socket.fd.get(), peer.at(), &peer.size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (would_block(done)) return wait(socket, -EAGAIN);
    if (done < 0) return done;
    put(out_.first, &peer.storage, std::min<size_t>(peer.size, sizeof peer.storage));
    // The new socket gets those settings of the listener that the kernel does not know.
    auto accepted = std::make_shared<Socket>(UniqueFd(static_cast<int>(done)), true);
    static_cast<SocketSettings&>(*accepted) = socket;
    return add(std::move(accepted), argument(0) & SOCK_NONBLOCK);
  }

  int64_t send_call(Socket& socket) {
    const int wanted = flags(argument(0), kSendFlags) | MSG_NOSIGNAL | MSG_DONTWAIT;
    SocketAddress address;
    address.size = 0;
    if (!call_.second.empty()) {
      const auto to = endpoint_of(call_.second);
      if (!to || !allows(socket, *to)) return -ENETUNREACH;
      address = kernel_address(call_.second);
    } else if (!still_allowed(socket)) {
      return -ENETUNREACH;
    }
    const auto rest = call_.first.subspan(std::min(progress_.sent, call_.first.size()));
    const int64_t done = result(
        sendto(socket.fd.get(), rest.data(), rest.size(), wanted, address.size ? address.at() : nullptr, address.size));
    const int64_t before = static_cast<int64_t>(progress_.sent);
    const bool dont_wait = argument(0) & MSG_DONTWAIT;
    if (would_block(done)) return wait(socket, before ? before : -EAGAIN, dont_wait);
    if (done < 0) return before ? before : done;
    progress_.sent += static_cast<size_t>(done);
    // A blocking send on a stream is over when all bytes are on their way.
    if (static_cast<size_t>(done) < rest.size()) return wait(socket, before + done, dont_wait);
    return before + done;
  }

  int64_t receive_call(Socket& socket) {
    if (argument(0) < 0) return -EINVAL;
    if (!still_allowed(socket)) return -ENETUNREACH;
    const int wanted = flags(argument(1), kReceiveFlags);
    const bool dont_wait = wanted & MSG_DONTWAIT;
    const size_t size = static_cast<size_t>(std::min<int64_t>(argument(0), kMaxData));
    // A stream throws these bytes away. A datagram only says that it was longer.
    const bool thrown_away = wanted & MSG_TRUNC && socket.stream;
    const auto take = [&](auto first, auto end) {
      progress_.received += static_cast<size_t>(end - first);
      if (!thrown_away) progress_.data.insert(progress_.data.end(), first, end);
    };
    const auto finish = [&] {
      out_.first = std::move(progress_.data);
      return static_cast<int64_t>(progress_.received);
    };
    if (!socket.given_back.empty() && !progress_.received && !(wanted & MSG_OOB)) {
      const auto end = socket.given_back.begin() + static_cast<ptrdiff_t>(std::min(size, socket.given_back.size()));
      take(socket.given_back.begin(), end);
      if (!(wanted & MSG_PEEK)) socket.given_back.erase(socket.given_back.begin(), end);
      if (!(wanted & MSG_WAITALL) || wanted & MSG_PEEK || progress_.received == size) return finish();
    }
    // Not the call's own buffer: an answer that may have to wait is as large as the bytes that came.
    thread_local std::vector<std::byte> room(kMaxData);
    for (;;) {
      SocketAddress peer;
      iovec part{room.data(), size - std::min(size, progress_.received)};
      msghdr message{};
      message.msg_name = peer.at();
      message.msg_namelen = peer.size;
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      const int64_t got = result(recvmsg(socket.fd.get(), &message, (wanted & ~MSG_WAITALL) | MSG_DONTWAIT));
      if (would_block(got) && (!progress_.received || !(socket.nonblocking || dont_wait)))
        return wait(socket, -EAGAIN, dont_wait);
      if (got < 0 && !progress_.received) return got;
      // With MSG_TRUNC a datagram's true size may be more than there was room for.
      const auto came = std::min<int64_t>(static_cast<int64_t>(part.iov_len), std::max<int64_t>(got, 0));
      take(room.begin(), room.begin() + came);
      const bool to_be_complete = wanted & MSG_WAITALL && !(wanted & MSG_PEEK) && socket.stream;
      if (to_be_complete && got > 0 && progress_.received < size) continue;
      put(out_.second, &peer.storage, std::min<size_t>(got < 0 ? 0 : message.msg_namelen, sizeof peer.storage));
      out_.extra = got < 0 ? 0 : message.msg_flags;
      return finish() + std::max<int64_t>(got - came, 0);
    }
  }

  int64_t give_back_call(Socket& socket) {
    if (call_.first.size() > kMaxData - std::min(kMaxData, socket.given_back.size())) return -ENOBUFS;
    socket.given_back.insert(socket.given_back.begin(), call_.first.begin(), call_.first.end());
    return 0;
  }

  template <typename Function>
  int64_t name_call(Socket& socket, Function function) {
    SocketAddress address;
    if (function(socket.fd.get(), address.at(), &address.size) != 0) return failed();
    put(out_.first, &address.storage, std::min<size_t>(address.size, sizeof address.storage));
    return 0;
  }

  int64_t ioctl_call(const Handle& handle) {
    if (argument(0) != FIONREAD && argument(0) != SIOCATMARK && argument(0) != SIOCOUTQ) return -ENOTTY;
    int value = 0;
    if (ioctl(handle.fd.get(), static_cast<unsigned long>(argument(0)), &value) != 0) return failed();
    out_.extra = value;
    if (handle.kind == Handle::Kind::socket && argument(0) == FIONREAD)
      out_.extra += static_cast<int64_t>(static_cast<const Socket&>(handle).given_back.size());
    return 0;
  }

  int64_t poll_call() {
    std::vector<pollfd> asked(call_.first.size() / sizeof(pollfd));
    if (asked.empty() || asked.size() > kMaxPolled || call_.first.size() % sizeof(pollfd)) return -EINVAL;
    std::memcpy(asked.data(), call_.first.data(), call_.first.size());
    std::vector<std::shared_ptr<Handle>> held;
    std::vector<pollfd> real = asked;
    held.reserve(asked.size());
    for (pollfd& one : real) {
      held.push_back(one.fd < 0 ? nullptr : handles_.find(static_cast<uint32_t>(one.fd)));
      one.fd = held.back() ? held.back()->fd.get() : -1;
      one.revents = 0;
    }
    int ready = ::poll(real.data(), real.size(), 0);
    if (ready < 0) return failed();
    for (size_t i = 0; i < asked.size(); ++i) {
      asked[i].revents = real[i].revents;
      if (held[i] && held[i]->kind == Handle::Kind::socket && asked[i].events & POLLIN &&
          !static_cast<const Socket&>(*held[i]).given_back.empty() && !(asked[i].revents & POLLIN)) {
        ready += asked[i].revents == 0;
        asked[i].revents |= POLLIN;
      }
      if (asked[i].fd >= 0 && !held[i]) {
        asked[i].revents = POLLNVAL;
        ++ready;
      }
    }
    if (ready == 0) {
      waits_ = true;
      return 0;
    }
    put(out_.first, asked.data(), asked.size() * sizeof(pollfd));
    return ready;
  }

  Destinations& destinations_;
  Handles& handles_;
  const Frame& call_;
  Progress& progress_;
  Done out_;
  bool waits_ = false;
};

}  // namespace

std::optional<Done> Sockets::attempt(const Frame& call, Progress& progress) {
  return Attempt(destinations_, handles_, call, progress).run();
}

Done Sockets::timed_out(const Frame& call, Progress& progress) {
  Done outcome;
  outcome.result = call.op != Op::connect ? -EAGAIN : progress.joined ? -EALREADY : -EINPROGRESS;
  if (call.op == Op::send && progress.sent) outcome.result = static_cast<int64_t>(progress.sent);
  if (call.op == Op::receive && progress.received) {
    outcome.result = static_cast<int64_t>(progress.received);
    outcome.first = std::move(progress.data);
  }
  return outcome;
}

int64_t Sockets::timeout_us(const Frame& call) const {
  const std::shared_ptr<Handle> handle = handles_.find(call.handle);
  if (!handle || handle->kind != Handle::Kind::socket || call.op == Op::poll) return 0;
  const Socket& socket = static_cast<const Socket&>(*handle);
  return call.op == Op::send || call.op == Op::connect ? socket.send_timeout_us : socket.receive_timeout_us;
}

}  // namespace oboro::proxy
