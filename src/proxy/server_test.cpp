#include "proxy/server_test.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <thread>
#include <unistd.h>

namespace oboro::proxy {
namespace {

TEST_F(ServerTest, Files) {
  start();
  const uint32_t file = made(Op::open, {O_RDWR | O_CREAT, 0600}, "/log");
  EXPECT_EQ(call(Op::write, file, {-1}, "line\n").result, 5);
  EXPECT_EQ(call(Op::read, file, {100, 0}).first, "line\n");
  EXPECT_EQ(call(Op::send, file, {}, "x").result, -ENOTSOCK);
  EXPECT_EQ(call(Op::close, file, {}).result, 0);
  EXPECT_EQ(call(Op::answer, 0, {}).result, -ENOSYS);
}

TEST_F(ServerTest, TcpClient) {
  start();
  auto [handle, peer] = connected();
  EXPECT_EQ(call(Op::send, handle, {}, "hello").result, 5);
  EXPECT_EQ(call(Op::write, handle, {-1}, " you").result, 4);
  char buffer[32] = {};
  EXPECT_EQ(recv(peer.get(), buffer, 9, MSG_WAITALL), 9);
  EXPECT_STREQ(buffer, "hello you");
  EXPECT_EQ(::send(peer.get(), "answer", 6, 0), 6);
  EXPECT_EQ(call(Op::receive, handle, {3, 0}).first, "ans");
  EXPECT_EQ(call(Op::receive, handle, {10, MSG_PEEK}).first, "wer");
  EXPECT_EQ(call(Op::read, handle, {10, -1}).first, "wer");
  EXPECT_EQ(call(Op::read, handle, {10, 5}).result, -ESPIPE);
  EXPECT_EQ(call(Op::receive, handle, {10, MSG_DONTWAIT}).result, -EAGAIN);
  EXPECT_EQ(call(Op::setsockopt, handle, {IPPROTO_TCP, TCP_NODELAY}, raw(1)).result, 0);
  EXPECT_EQ(call(Op::getsockopt, handle, {IPPROTO_TCP, TCP_NODELAY, 4}).first, raw(1));
  EXPECT_EQ(call(Op::setsockopt, handle, {SOL_SOCKET, SO_BINDTODEVICE}, "lo").result, -ENOPROTOOPT);
  EXPECT_EQ(call(Op::getpeername, handle, {}).first.substr(4, 4), std::string("\x0a\x09\x09\x01", 4));
  peer.reset();
  EXPECT_EQ(call(Op::receive, handle, {10, 0}).result, 0) << "the end";
  EXPECT_EQ(call(Op::close, handle, {}).result, 0);
  EXPECT_EQ(call(Op::receive, handle, {10, 0}).result, -EBADF);
}

TEST_F(ServerTest, WhatIsGivenBackComesNext) {
  start();
  auto [handle, peer] = connected();
  const std::string asked = std::string(raw(pollfd{static_cast<int>(handle), POLLIN, 0}));
  EXPECT_EQ(call(Op::give_back, handle, {}, "cd").result, 0);
  EXPECT_EQ(call(Op::give_back, handle, {}, "ab").result, 0);
  EXPECT_EQ(call(Op::poll, 0, {}, asked).result, 1);
  EXPECT_EQ(call(Op::ioctl, handle, {FIONREAD}).extra, 4);
  EXPECT_EQ(call(Op::receive, handle, {10, MSG_OOB | MSG_DONTWAIT}).result, -EINVAL);
  EXPECT_EQ(call(Op::receive, handle, {3, MSG_PEEK}).first, "abc");
  EXPECT_EQ(call(Op::read, handle, {1, -1}).first, "a");
  const uint64_t whole = send(Op::receive, handle, {5, MSG_WAITALL});
  EXPECT_FALSE(answer(whole, 100));
  EXPECT_EQ(::send(peer.get(), "efg", 3, 0), 3);
  EXPECT_EQ(answer(whole)->first, "bcdef");
  EXPECT_EQ(call(Op::receive, handle, {10, 0}).first, "g");
  // A waiting call gets the bytes at once.
  const uint64_t waiting = send(Op::receive, handle, {10, 0}), polls = send(Op::poll, 0, {}, asked);
  EXPECT_FALSE(answer(waiting, 100));
  EXPECT_EQ(call(Op::give_back, handle, {}, "x").result, 0);
  EXPECT_EQ(answer(waiting)->first, "x");
  EXPECT_EQ(call(Op::give_back, handle, {}, "y").result, 0);
  EXPECT_EQ(answer(polls)->result, 1);
  // There is a limit to it.
  EXPECT_EQ(call(Op::give_back, handle, {}, std::string(kMaxData, 'z')).result, -ENOBUFS);
}

TEST_F(ServerTest, WhoWaitsHoldsNobodyUp) {
  start();
  auto [handle, peer] = connected();
  std::vector<uint64_t> waiting;
  for (int i = 0; i < 64; ++i) waiting.push_back(send(Op::receive, handle, {1, 0}));
  const uint32_t file = made(Op::open, {O_RDWR | O_CREAT, 0600}, "/log");
  EXPECT_EQ(call(Op::write, file, {-1}, "x").result, 1);
  EXPECT_FALSE(answer(waiting[0], 50));
  EXPECT_EQ(::send(peer.get(), std::string(64, 'y').data(), 64, 0), 64);
  for (const uint64_t id : waiting) {
    const auto reply = answer(id);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->first, "y");
  }
}

TEST_F(ServerTest, WaitsEnd) {
  start();
  auto [handle, peer] = connected();
  // A time limit of the socket ends the wait.
  const timeval limit{0, 50000};
  EXPECT_EQ(call(Op::setsockopt, handle, {SOL_SOCKET, SO_RCVTIMEO}, raw(limit)).result, 0);
  EXPECT_EQ(call(Op::getsockopt, handle, {SOL_SOCKET, SO_RCVTIMEO, sizeof limit}).first, raw(limit));
  EXPECT_EQ(call(Op::receive, handle, {1, 0}).result, -EAGAIN);
  EXPECT_EQ(call(Op::setsockopt, handle, {SOL_SOCKET, SO_RCVTIMEO}, raw(timeval{})).result, 0);
  // An interruption of the service ends the wait.
  uint64_t waiting = send(Op::receive, handle, {1, 0});
  EXPECT_EQ(call(Op::cancel, 0, {static_cast<int64_t>(waiting)}).result, 0);
  EXPECT_EQ(answer(waiting)->result, -EINTR);
  EXPECT_EQ(call(Op::cancel, 0, {12345}).result, 0) << "done already, or never there";
  // It ends with the bytes that are there, though it asked for all.
  waiting = send(Op::receive, handle, {10, MSG_WAITALL});
  EXPECT_EQ(::send(peer.get(), "abc", 3, 0), 3);
  EXPECT_FALSE(answer(waiting, 50));
  EXPECT_EQ(::send(peer.get(), "de", 2, 0), 2);
  while (call(Op::ioctl, handle, {FIONREAD}).extra != 0) {
  }
  EXPECT_EQ(call(Op::cancel, 0, {static_cast<int64_t>(waiting)}).result, 0);
  EXPECT_EQ(answer(waiting)->first, "abcde");
  // A close of the socket ends the wait.
  waiting = send(Op::receive, handle, {1, 0});
  EXPECT_EQ(call(Op::close, handle, {}).result, 0);
  EXPECT_EQ(answer(waiting)->result, -EBADF);
}

// close(2) would wait for a peer that does not read, and all other calls with it.
TEST_F(ServerTest, ALingeringSocketHoldsNobodyUp) {
  start();
  auto [handle, peer] = connected();
  const linger value{1, 30};
  EXPECT_EQ(call(Op::setsockopt, handle, {SOL_SOCKET, SO_LINGER}, raw(value)).result, 0);
  EXPECT_EQ(call(Op::getsockopt, handle, {SOL_SOCKET, SO_LINGER, sizeof value}).first, raw(value));
  EXPECT_EQ(call(Op::setfl, handle, {O_NONBLOCK}).result, 0);
  while (call(Op::send, handle, {}, std::string(100000, 'x')).result > 0) {
  }
  const auto closed = answer(send(Op::close, handle, {}), 3000);
  ASSERT_TRUE(closed) << "it waits";
  EXPECT_EQ(closed->result, 0);
}

TEST_F(ServerTest, ALongSendWaitsForItsReader) {
  start();
  auto [handle, peer] = connected();
  const std::string large(kMaxData, 'z');
  std::vector<uint64_t> sends;
  for (int i = 0; i < 8; ++i) {
    sends.push_back(send(Op::send, handle, {}, large));
    if (i % 2) (void)call(Op::statfs, 0, {}, "/");  // so that the ring has room
  }
  EXPECT_FALSE(answer(sends.back(), 50));
  std::vector<char> buffer(1 << 20);
  size_t got = 0;
  while (got < 8 * large.size()) {
    const ssize_t n = recv(peer.get(), buffer.data(), buffer.size(), 0);
    ASSERT_GT(n, 0);
    got += static_cast<size_t>(n);
  }
  for (const uint64_t id : sends) EXPECT_EQ(answer(id)->result, static_cast<int64_t>(large.size()));
}

TEST_F(ServerTest, ServesAndAccepts) {
  start();
  const uint32_t listening = made(Op::socket, {AF_INET, SOCK_STREAM, 0});
  EXPECT_EQ(call(Op::listen, listening, {5}).result, -EACCES) << "at a port of the kernel's choice";
  EXPECT_EQ(call(Op::bind, listening, {}, raw(address("0.0.0.0", 5141))).result, -EACCES);
  EXPECT_EQ(call(Op::bind, listening, {}, raw(address("0.0.0.0", 5140))).result, 0);
  EXPECT_EQ(call(Op::listen, listening, {5}).result, 0);
  const uint64_t waiting = send(Op::accept, listening, {0});
  EXPECT_FALSE(answer(waiting, 50));
  const UniqueFd client(socket(AF_INET, SOCK_STREAM, 0));
  const sockaddr_in to = address(kOutside, 5140);
  ASSERT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  const auto accepted = answer(waiting);
  ASSERT_TRUE(accepted);
  ASSERT_GT(accepted->result, 0);
  EXPECT_EQ(accepted->first.size(), sizeof(sockaddr_in));
  ASSERT_EQ(::send(client.get(), "hi", 2, 0), 2);
  EXPECT_EQ(call(Op::receive, static_cast<uint32_t>(accepted->result), {10, 0}).first, "hi");
  EXPECT_EQ(call(Op::setfl, listening, {O_NONBLOCK}).result, 0);
  EXPECT_EQ(call(Op::accept, listening, {0}).result, -EAGAIN);
}

TEST_F(ServerTest, Datagrams) {
  start();
  const UniqueFd peer(socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in at = address(kOutside, 0);
  ASSERT_EQ(bind(peer.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  socklen_t size = sizeof at;
  getsockname(peer.get(), reinterpret_cast<sockaddr*>(&at), &size);
  const uint32_t handle = made(Op::socket, {AF_INET, SOCK_DGRAM, 0});
  EXPECT_EQ(call(Op::send, handle, {}, "question", raw(at)).result, 8);
  char buffer[32];
  sockaddr_in from{};
  size = sizeof from;
  ASSERT_EQ(recvfrom(peer.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size), 8);
  ASSERT_EQ(sendto(peer.get(), "a long answer", 13, 0, reinterpret_cast<sockaddr*>(&from), size), 13);
  const Reply reply = call(Op::receive, handle, {6, MSG_TRUNC});
  EXPECT_EQ(reply.result, 13);
  EXPECT_EQ(reply.first, "a long");
  EXPECT_TRUE(reply.extra & MSG_TRUNC);
  EXPECT_EQ(reply.second, raw(at));
}

TEST_F(ServerTest, PollsSeveral) {
  start();
  auto [one, one_peer] = connected();
  auto [two, two_peer] = connected();
  const pollfd asked[] = {{static_cast<int>(one), POLLIN, 0}, {-1, POLLIN, 0}, {static_cast<int>(two), POLLIN, 0}};
  const uint64_t waiting = send(Op::poll, 0, {}, raw(asked));
  EXPECT_FALSE(answer(waiting, 50));
  ASSERT_EQ(::send(two_peer.get(), "x", 1, 0), 1);
  const auto ready = answer(waiting);
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->result, 1);
  pollfd told[3];
  ASSERT_EQ(ready->first.size(), sizeof told);
  std::memcpy(told, ready->first.data(), sizeof told);
  EXPECT_EQ(told[0].revents, 0);
  EXPECT_EQ(told[2].revents, POLLIN);
  const pollfd none[] = {{77777, POLLIN, 0}};
  EXPECT_EQ(call(Op::poll, 0, {}, raw(none)).result, 1) << "POLLNVAL";
  EXPECT_EQ(call(Op::poll, 0, {}, "xyz").result, -EINVAL);
  EXPECT_EQ(call(Op::poll, 0, {}).result, -EINVAL);
}

TEST_F(ServerTest, OnlyOtherHosts) {
  policy.own = {{std::byte{10}, std::byte{1}, std::byte{2}, std::byte{3}}};
  start();
  const uint32_t tcp = made(Op::socket, {AF_INET, SOCK_STREAM, 0});
  const uint32_t udp = made(Op::socket, {AF_INET, SOCK_DGRAM, 0});
  const uint32_t six = made(Op::socket, {AF_INET6, SOCK_STREAM, 0});
  for (const char* host :
       {"127.0.0.1", "127.1.2.3", "0.0.0.0", "10.1.2.3", "169.254.169.254", "224.0.0.1", "255.255.255.255"}) {
    EXPECT_EQ(call(Op::connect, tcp, {}, raw(address(host, 80))).result, -ENETUNREACH) << host;
    EXPECT_EQ(call(Op::send, udp, {}, "x", raw(address(host, 80))).result, -ENETUNREACH) << host;
  }
  for (const char* host :
       {"::1", "::", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::127.0.0.1", "fe80::1", "ff02::1", "fd00:ec2::254"}) {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(80);
    ASSERT_EQ(inet_pton(AF_INET6, host, &in.sin6_addr), 1);
    EXPECT_EQ(call(Op::connect, six, {}, raw(in)).result, -ENETUNREACH) << host;
  }
  EXPECT_LT(call(Op::connect, tcp, {}, raw(sa_family_t{AF_UNIX})).result, 0);
  EXPECT_LT(call(Op::connect, tcp, {}, "").result, 0);
  EXPECT_EQ(call(Op::socket, 0, {AF_UNIX, SOCK_STREAM, 0}).result, -EAFNOSUPPORT);
  EXPECT_EQ(call(Op::socket, 0, {AF_NETLINK, SOCK_RAW, 0}).result, -EAFNOSUPPORT);
  EXPECT_EQ(call(Op::socket, 0, {AF_INET, SOCK_RAW, 0}).result, -ESOCKTNOSUPPORT);
}

TEST_F(ServerTest, WithoutNetworkThereAreNoSockets) {
  policy = {};
  start();
  EXPECT_EQ(call(Op::socket, 0, {AF_INET, SOCK_STREAM, 0}).result, -EACCES);
}

TEST_F(ServerTest, AFloodIsBounded) {
  ServerLimits limits;
  limits.waiting = 100;
  limits.bytes = 1 << 20;
  start(limits);
  auto [handle, peer] = connected();
  const uint32_t file_too = made(Op::open, {O_RDWR | O_CREAT, 0600}, "/a");
  const uint32_t socket_too = made(Op::socket, {AF_INET, SOCK_STREAM, 0});
  std::vector<uint64_t> waiting;
  for (int i = 0; i < 300; ++i) waiting.push_back(send(Op::receive, handle, {1, 0}));
  EXPECT_EQ(call(Op::statfs, 0, {}, "/").result, -ENOBUFS);
  int refused = 0;
  for (const uint64_t id : waiting)
    if (const auto reply = answer(id, 0); reply && reply->result == -ENOBUFS) ++refused;
  EXPECT_EQ(refused, 200);
  for (const uint32_t other : {file_too, socket_too}) {
    EXPECT_EQ(call(Op::close, other, {}).result, 0) << "nobody would try again";
    EXPECT_EQ(call(Op::close, other, {}).result, -EBADF);
  }
  // Answers that nobody takes stop the proxy, and not the host. None is lost.
  ASSERT_EQ(::send(peer.get(), std::string(100, 'y').data(), 100, 0), 100);
  for (const uint64_t id : waiting) (void)answer(id, id == waiting[99] ? 10000 : 0);
  const uint32_t file = made(Op::open, {O_RDWR | O_CREAT, 0600}, "/big");
  EXPECT_EQ(call(Op::write, file, {0}, std::string(kMaxData / 2, 'b')).result, kMaxData / 2);
  std::vector<uint64_t> reads;
  for (int i = 0; i < 60; ++i) {
    reads.push_back(send(Op::read, file, {kMaxData / 2, 0}));
    usleep(1000);
  }
  size_t complete = 0, told_to_wait = 0;
  for (const uint64_t id : reads) {
    const auto reply = answer(id);
    ASSERT_TRUE(reply);
    complete += reply->result == kMaxData / 2;
    told_to_wait += reply->result == -ENOBUFS;
  }
  EXPECT_EQ(complete + told_to_wait, reads.size());
  EXPECT_GT(complete, 8u);
}

TEST_F(ServerTest, GarbledCallsEndIt) {
  start();
  Frame frame;
  frame.op = Op::count;
  ASSERT_TRUE(tracer->send(frame));
  server.join();
  EXPECT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::invalid);
}

TEST_F(ServerTest, ItEndsWithItsTracer) {
  start();
  auto [handle, peer] = connected();
  send(Op::receive, handle, {1, 0});
  life.reset();
  server.join();
  EXPECT_TRUE(outcome);
  char byte;
  EXPECT_EQ(recv(peer.get(), &byte, 1, 0), 0) << "its connections end with it";
}

}  // namespace
}  // namespace oboro::proxy
