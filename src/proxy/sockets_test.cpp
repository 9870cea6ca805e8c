// The network calls of a hidden service, compared with what Linux does.
#include "proxy/sockets.h"

#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <sys/time.h>
#include <tuple>
#include <vector>

#include "proxy/server_test.h"

namespace oboro::proxy {
namespace {

class SocketsTest : public ServerTest {
 protected:
  int64_t set(uint32_t handle, int level, int name, std::string_view value) {
    return call(Op::setsockopt, handle, {level, name}, value).result;
  }
  Reply get(uint32_t handle, int level, int name, int64_t size = 4) {
    return call(Op::getsockopt, handle, {level, name, size});
  }
};

// glibc's resolver gives up where it cannot have this.
TEST_F(SocketsTest, ErrorQueuesAreThereAndStayEmpty) {
  start();
  const uint32_t four = made(Op::socket, {AF_INET, SOCK_DGRAM, 0}), six = made(Op::socket, {AF_INET6, SOCK_DGRAM, 0});
  for (const auto& [handle, level, name] :
       {std::tuple(four, IPPROTO_IP, IP_RECVERR), {six, IPPROTO_IPV6, IPV6_RECVERR}, {six, IPPROTO_IP, IP_RECVERR}}) {
    EXPECT_EQ(get(handle, level, name).first, raw(0));
    EXPECT_EQ(set(handle, level, name, raw(7)), 0);
    EXPECT_EQ(get(handle, level, name).first, raw(1));
    EXPECT_EQ(get(handle, level, name, 1).first, "\x01");
  }
  EXPECT_EQ(set(six, IPPROTO_IPV6, IPV6_RECVERR, raw(0)), 0);
  EXPECT_EQ(get(six, IPPROTO_IPV6, IPV6_RECVERR).first, raw(0));
  EXPECT_EQ(get(six, IPPROTO_IP, IP_RECVERR).first, raw(1)) << "another one";
  EXPECT_EQ(set(six, IPPROTO_IPV6, IPV6_RECVERR, "\x01"), -EINVAL);
  EXPECT_EQ(set(six, IPPROTO_IP, IP_RECVERR, "\x01"), 0) << "a byte will do";
  EXPECT_EQ(set(four, IPPROTO_IPV6, IPV6_RECVERR, raw(1)), -ENOPROTOOPT);
  EXPECT_EQ(get(four, IPPROTO_IPV6, IPV6_RECVERR).result, -EOPNOTSUPP);

  // Nobody listens there: the error comes, once, and the socket is as before.
  uint16_t closed = 0;
  (void)listener(closed);
  EXPECT_EQ(call(Op::connect, four, {}, raw(address(kOutside, closed))).result, 0);
  EXPECT_EQ(call(Op::send, four, {}, "x").result, 1);
  EXPECT_EQ(call(Op::receive, four, {10, 0}).result, -ECONNREFUSED);
  const uint64_t waiting = send(Op::poll, 0, {}, raw(pollfd{static_cast<int>(four), POLLIN, 0}));
  EXPECT_FALSE(answer(waiting, 100)) << "POLLERR for ever";
}

// Options that programs rely on, or cannot run without, and that concern nothing but the socket.
TEST_F(SocketsTest, OptionsThatProgramsSet) {
  start();
  const uint32_t tcp = made(Op::socket, {AF_INET, SOCK_STREAM, 0}), udp = made(Op::socket, {AF_INET, SOCK_DGRAM, 0}),
                 six = made(Op::socket, {AF_INET6, SOCK_DGRAM, 0});
  struct Case {
    uint32_t handle;
    int level, name, value;
  };
  for (const auto& [handle, level, name, value] : std::vector<Case>{
           {tcp, SOL_SOCKET, SO_PRIORITY, 6},
           {tcp, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1},
           {tcp, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384},
           {tcp, IPPROTO_TCP, TCP_WINDOW_CLAMP, 65536},
           {tcp, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1},
           {udp, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO},
           {udp, IPPROTO_IP, IP_MULTICAST_TTL, 3},
           {udp, IPPROTO_IP, IP_MULTICAST_LOOP, 0},
           {udp, IPPROTO_IP, IP_MULTICAST_ALL, 0},
           {six, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO},
           {six, IPPROTO_IPV6, IPV6_MTU, 1280},
           {six, IPPROTO_IPV6, IPV6_DONTFRAG, 1},
           {six, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 3},
           {six, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0},
           {six, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0},
       }) {
    EXPECT_EQ(set(handle, level, name, raw(value)), 0) << level << " " << name;
    if (name != IPV6_MTU || level != IPPROTO_IPV6) {  // which tells the path's
      EXPECT_EQ(get(handle, level, name).first, raw(value)) << level << " " << name;
    }
  }
  EXPECT_EQ(get(tcp, SOL_SOCKET, SO_SNDLOWAT).first, raw(1));
  auto [connection, peer] = connected();
  EXPECT_EQ(get(connection, IPPROTO_IP, IP_MTU).result, 0);
}

TEST_F(SocketsTest, OptionsThatAreRefused) {
  start();
  const uint32_t tcp = made(Op::socket, {AF_INET, SOCK_STREAM, 0}), udp = made(Op::socket, {AF_INET, SOCK_DGRAM, 0}),
                 six = made(Op::socket, {AF_INET6, SOCK_DGRAM, 0});
  // The control messages of some do not come through. The others choose a device, an address or a port, need a right,
  // or have the kernel do more than send and receive.
  for (const auto& [handle, level, name] : std::vector<std::tuple<uint32_t, int, int>>{
           {udp, IPPROTO_IP, IP_PKTINFO},
           {udp, IPPROTO_IP, IP_RECVTTL},
           {six, IPPROTO_IPV6, IPV6_RECVPKTINFO},
           {six, IPPROTO_IPV6, IPV6_RECVTCLASS},
           {udp, SOL_SOCKET, SO_TIMESTAMP},
           {udp, SOL_SOCKET, SO_BINDTODEVICE},
           {udp, IPPROTO_IP, IP_MULTICAST_IF},
           {udp, IPPROTO_IP, IP_ADD_MEMBERSHIP},
           {udp, IPPROTO_IP, IP_OPTIONS},
           {tcp, IPPROTO_IP, IP_TRANSPARENT},
           {tcp, IPPROTO_IP, IP_FREEBIND},
           {udp, SOL_SOCKET, SO_RCVBUFFORCE},
           {udp, SOL_SOCKET, SO_MARK},
           {udp, SOL_SOCKET, SO_PEEK_OFF},
           {udp, SOL_SOCKET, SO_COOKIE},
           {udp, SOL_SOCKET, SO_ATTACH_FILTER},
           {tcp, IPPROTO_TCP, TCP_FASTOPEN},
           {tcp, IPPROTO_TCP, TCP_FASTOPEN_CONNECT},
           {tcp, IPPROTO_TCP, TCP_ULP},
       }) {
    EXPECT_EQ(set(handle, level, name, raw(1)), -ENOPROTOOPT) << level << " " << name;
    EXPECT_EQ(get(handle, level, name).result, -ENOPROTOOPT) << level << " " << name;
  }
}

// A listener of the test's that takes no more connections until it is asked to.
struct FullListener {
  FullListener() : fd(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in in = address(kOutside, 0);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&in), sizeof in), 0);
    EXPECT_EQ(listen(fd.get(), 0), 0);
    socklen_t size = sizeof in;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&in), &size);
    port = ntohs(in.sin_port);
    for (pollfd writable{-1, POLLOUT, 0}; others.size() < 10;) {
      others.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
      (void)connect(others.back().get(), reinterpret_cast<sockaddr*>(&in), sizeof in);
      writable.fd = others.back().get();
      if (poll(&writable, 1, 100) == 0) return;
    }
    ADD_FAILURE() << "it is never full";
  }
  UniqueFd fd;
  uint16_t port = 0;
  std::vector<UniqueFd> others;
};

// As Linux does: the kernel's connection goes on when the call is interrupted, and a restarted call waits on.
TEST_F(SocketsTest, ConnectGoesOnWhereItWas) {
  start();
  FullListener server_side;
  const std::string to(raw(address(kOutside, server_side.port)));
  const uint32_t handle = made(Op::socket, {AF_INET, SOCK_STREAM, 0});
  const uint64_t interrupted = send(Op::connect, handle, {}, to);
  EXPECT_FALSE(answer(interrupted, 50));
  EXPECT_EQ(call(Op::cancel, 0, {static_cast<int64_t>(interrupted)}).result, 0);
  EXPECT_EQ(answer(interrupted)->result, -EINTR);

  EXPECT_EQ(call(Op::setfl, handle, {O_NONBLOCK}).result, 0);
  EXPECT_EQ(call(Op::connect, handle, {}, to).result, -EALREADY);
  EXPECT_EQ(call(Op::setfl, handle, {0}).result, 0);
  EXPECT_EQ(set(handle, SOL_SOCKET, SO_SNDTIMEO, raw(timeval{0, 50000})), 0);
  EXPECT_EQ(call(Op::connect, handle, {}, to).result, -EALREADY) << "not -EINPROGRESS: it did not begin it";
  EXPECT_EQ(set(handle, SOL_SOCKET, SO_SNDTIMEO, raw(timeval{})), 0);

  const uint64_t restarted = send(Op::connect, handle, {}, to);
  EXPECT_FALSE(answer(restarted, 100));
  server_side.others.clear();
  while (UniqueFd(accept4(server_side.fd.get(), nullptr, nullptr, SOCK_NONBLOCK))) {
    if (pollfd more{server_side.fd.get(), POLLIN, 0}; poll(&more, 1, 100) <= 0) break;
  }
  const auto done = answer(restarted);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->result, 0);
  EXPECT_EQ(call(Op::connect, handle, {}, to).result, -EISCONN);
}

TEST_F(SocketsTest, AcceptedSocketsAreAsTheirListener) {
  start();
  const uint32_t listening = made(Op::socket, {AF_INET, SOCK_STREAM, 0});
  const timeval receives{0, 50000}, sends{7, 0};
  const linger lingers{1, 30};
  EXPECT_EQ(set(listening, SOL_SOCKET, SO_RCVTIMEO, raw(receives)), 0);
  EXPECT_EQ(set(listening, SOL_SOCKET, SO_SNDTIMEO, raw(sends)), 0);
  EXPECT_EQ(set(listening, SOL_SOCKET, SO_LINGER, raw(lingers)), 0);
  EXPECT_EQ(set(listening, IPPROTO_IP, IP_RECVERR, raw(1)), 0);
  EXPECT_EQ(call(Op::bind, listening, {}, raw(address("0.0.0.0", 5140))).result, 0);
  EXPECT_EQ(call(Op::listen, listening, {5}).result, 0);
  const UniqueFd client(socket(AF_INET, SOCK_STREAM, 0));
  const sockaddr_in to = address(kOutside, 5140);
  ASSERT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  EXPECT_EQ(call(Op::setfl, listening, {O_NONBLOCK}).result, 0);
  const uint32_t accepted = static_cast<uint32_t>(call(Op::accept, listening, {0}).result);
  EXPECT_EQ(get(accepted, SOL_SOCKET, SO_RCVTIMEO, sizeof receives).first, raw(receives));
  EXPECT_EQ(get(accepted, SOL_SOCKET, SO_SNDTIMEO, sizeof sends).first, raw(sends));
  EXPECT_EQ(get(accepted, SOL_SOCKET, SO_LINGER, sizeof lingers).first, raw(lingers));
  EXPECT_EQ(get(accepted, IPPROTO_IP, IP_RECVERR).first, raw(1));
  const uint64_t waiting = send(Op::receive, accepted, {10, 0});
  EXPECT_FALSE(answer(waiting, 10)) << "whether it blocks is no such thing";
  EXPECT_EQ(answer(waiting)->result, -EAGAIN);
}

// MSG_TRUNC on a stream takes bytes away and writes none.
TEST_F(SocketsTest, WhatIsThrownAwayIsNothingElse) {
  start();
  auto [other, other_peer] = connected();
  ASSERT_EQ(::send(other_peer.get(), "of another", 10, 0), 10);
  EXPECT_EQ(call(Op::receive, other, {10, MSG_WAITALL}).first, "of another");
  auto [handle, peer] = connected();
  const auto thrown = [&, stream = handle](int64_t size, int flags) {
    const Reply reply = call(Op::receive, stream, {size, MSG_TRUNC | flags});
    EXPECT_EQ(reply.first, "");
    return reply.result;
  };
  ASSERT_EQ(::send(peer.get(), "0123456789", 10, 0), 10);
  EXPECT_EQ(thrown(4, 0), 4);
  EXPECT_EQ(thrown(3, MSG_PEEK), 3);
  EXPECT_EQ(call(Op::receive, handle, {2, 0}).first, "45");
  EXPECT_EQ(thrown(4, MSG_WAITALL), 4);
  const uint64_t waiting = send(Op::receive, handle, {10, MSG_TRUNC | MSG_WAITALL});
  EXPECT_FALSE(answer(waiting, 50));
  ASSERT_EQ(::send(peer.get(), "abcde", 5, 0), 5);
  while (call(Op::ioctl, handle, {FIONREAD}).extra != 0) {
  }
  EXPECT_EQ(call(Op::cancel, 0, {static_cast<int64_t>(waiting)}).result, 0);
  const auto cut = answer(waiting);
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->result, 5);
  EXPECT_EQ(cut->first, "");
  EXPECT_EQ(call(Op::give_back, handle, {}, "xyz").result, 0);
  EXPECT_EQ(thrown(1, MSG_PEEK), 1);
  EXPECT_EQ(thrown(2, 0), 2);
  EXPECT_EQ(call(Op::receive, handle, {10, 0}).first, "z");
}

// recv(2) waits for bytes even then.
TEST_F(SocketsTest, AReadOfNothingIsOverAtOnce) {
  start();
  auto [handle, peer] = connected();
  EXPECT_EQ(call(Op::read, handle, {0, -1}).result, 0);
  EXPECT_EQ(call(Op::read, handle, {0, 5}).result, -ESPIPE);
  EXPECT_EQ(call(Op::read, made(Op::socket, {AF_INET, SOCK_STREAM, 0}), {0, -1}).result, 0) << "not even connected";
  EXPECT_EQ(call(Op::read, 77777, {0, -1}).result, -EBADF);
  EXPECT_FALSE(answer(send(Op::receive, handle, {0, 0}), 50));
}

}  // namespace
}  // namespace oboro::proxy
