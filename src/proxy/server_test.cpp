// A proxy at work on its channel, with the tracer's end in the test's hands. Its network is a namespace of this process
// with one address, 10.9.9.1.

#include "proxy/server.h"

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <thread>
#include <unistd.h>

namespace oboro::proxy {
namespace {

constexpr char kOutside[] = "10.9.9.1";

sockaddr_in address(const char* host, uint16_t port) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  inet_pton(AF_INET, host, &in.sin_addr);
  return in;
}
template <typename T>
std::string_view raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// Once for the process; the threads that it starts later are in it too.
bool have_network() {
  static const bool made = [] {
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
    const UniqueFd any(socket(AF_INET, SOCK_DGRAM, 0));
    ifreq request{};
    strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(any.get(), SIOCSIFFLAGS, &request) != 0) return false;
    strcpy(request.ifr_name, "lo:1");
    const sockaddr_in in = address(kOutside, 0);
    std::memcpy(&request.ifr_addr, &in, sizeof in);
    return ioctl(any.get(), SIOCSIFADDR, &request) == 0;
  }();
  return made;
}

struct Reply {
  int64_t result = 0, extra = 0;
  std::string first, second;
};

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_network()) GTEST_SKIP() << "this machine lets nobody make a network namespace";
    umask(0);
    char path[] = "/tmp/oboro-server-test-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    root = path;
    policy.remote = true;
    policy.listen = {5140};
  }
  void TearDown() override {
    if (server.joinable()) {
      life.reset();
      server.join();
    }
    if (!root.empty()) std::filesystem::remove_all(root);
  }
  void start(ServerLimits limits = {}) {
    Result<ChannelFds> fds = Channel::create();
    ASSERT_TRUE(fds);
    ChannelFds theirs{UniqueFd(dup(fds->memory.get())), UniqueFd(dup(fds->for_proxy.get())),
                      UniqueFd(dup(fds->for_tracer.get()))};
    tracer = std::make_unique<Channel>(std::move(*Channel::attach(std::move(*fds), Channel::Side::tracer)));
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    life = UniqueFd(ends[1]);
    server = std::thread([this, limits, fds = std::move(theirs), end = ends[0]]() mutable {
      outcome = serve(std::move(*Channel::attach(std::move(fds), Channel::Side::proxy)),
                      UniqueFd(open(root.c_str(), O_PATH | O_DIRECTORY)), policy, limits, UniqueFd(end));
    });
  }

  uint64_t send(Op op, uint32_t handle, std::array<int64_t, 4> arguments, std::string_view first = {},
                std::string_view second = {}) {
    Frame frame;
    frame.op = op;
    frame.id = ++last_id;
    frame.handle = handle;
    frame.arguments = arguments;
    frame.first = bytes_of(first);
    frame.second = bytes_of(second);
    EXPECT_TRUE(tracer->send(frame));
    return frame.id;
  }
  // The answer to a call, within a time; what else came meanwhile is kept.
  std::optional<Reply> answer(uint64_t id, int timeout_ms = 10000) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    for (;;) {
      while (const auto frame = tracer->receive(storage))
        answers[frame->id] = {frame->result(), frame->arguments[1], std::string(frame->text()),
                              std::string(frame->second_text())};
      if (const auto found = answers.find(id); found != answers.end()) {
        const Reply reply = found->second;
        answers.erase(found);
        return reply;
      }
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
      if (left <= 0) return std::nullopt;
      if (!tracer->may_sleep()) continue;
      pollfd waiting{tracer->wake_fd(), POLLIN, 0};
      poll(&waiting, 1, static_cast<int>(left));
      tracer->woken();
    }
  }
  Reply call(Op op, uint32_t handle, std::array<int64_t, 4> arguments, std::string_view first = {},
             std::string_view second = {}) {
    const auto reply = answer(send(op, handle, arguments, first, second));
    EXPECT_TRUE(reply) << "no answer";
    return reply.value_or(Reply{-1, 0, {}, {}});
  }
  uint32_t made(Op op, std::array<int64_t, 4> arguments, std::string_view first = {}) {
    const int64_t handle = call(op, 0, arguments, first).result;
    EXPECT_GT(handle, 0);
    return static_cast<uint32_t>(handle);
  }
  // A server outside, to which the proxy's sockets go.
  static UniqueFd listener(uint16_t& port) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in in = address(kOutside, 0);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&in), sizeof in), 0);
    EXPECT_EQ(listen(fd.get(), 100), 0);
    socklen_t size = sizeof in;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&in), &size);
    port = ntohs(in.sin_port);
    return fd;
  }
  // A connection of the proxy's, and its other end.
  std::pair<uint32_t, UniqueFd> connected() {
    uint16_t port = 0;
    const UniqueFd server_fd = listener(port);
    const uint32_t handle = made(Op::socket, {AF_INET, SOCK_STREAM, 0});
    EXPECT_EQ(call(Op::connect, handle, {}, raw(address(kOutside, port))).result, 0);
    return {handle, UniqueFd(accept(server_fd.get(), nullptr, nullptr))};
  }

  std::string root;
  NetworkPolicy policy;
  std::unique_ptr<Channel> tracer;
  UniqueFd life;
  std::thread server;
  Result<void> outcome;
  std::vector<std::byte> storage;
  std::map<uint64_t, Reply> answers;
  uint64_t last_id = 0;
};

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
  // By a time limit of the socket.
  const timeval limit{0, 50000};
  EXPECT_EQ(call(Op::setsockopt, handle, {SOL_SOCKET, SO_RCVTIMEO}, raw(limit)).result, 0);
  EXPECT_EQ(call(Op::getsockopt, handle, {SOL_SOCKET, SO_RCVTIMEO, sizeof limit}).first, raw(limit));
  EXPECT_EQ(call(Op::receive, handle, {1, 0}).result, -EAGAIN);
  EXPECT_EQ(call(Op::setsockopt, handle, {SOL_SOCKET, SO_RCVTIMEO}, raw(timeval{})).result, 0);
  // Because the service is interrupted.
  uint64_t waiting = send(Op::receive, handle, {1, 0});
  EXPECT_EQ(call(Op::cancel, 0, {static_cast<int64_t>(waiting)}).result, 0);
  EXPECT_EQ(answer(waiting)->result, -EINTR);
  EXPECT_EQ(call(Op::cancel, 0, {12345}).result, 0) << "done already, or never there";
  // With what is there of what should have been complete.
  waiting = send(Op::receive, handle, {10, MSG_WAITALL});
  EXPECT_EQ(::send(peer.get(), "abc", 3, 0), 3);
  EXPECT_FALSE(answer(waiting, 50));
  EXPECT_EQ(::send(peer.get(), "de", 2, 0), 2);
  while (call(Op::ioctl, handle, {FIONREAD}).extra != 0) {
  }
  EXPECT_EQ(call(Op::cancel, 0, {static_cast<int64_t>(waiting)}).result, 0);
  EXPECT_EQ(answer(waiting)->first, "abcde");
  // Because the socket is closed.
  waiting = send(Op::receive, handle, {1, 0});
  EXPECT_EQ(call(Op::close, handle, {}).result, 0);
  EXPECT_EQ(answer(waiting)->result, -EBADF);
}

// close(2) would wait for a peer that does not read, and everybody else with it.
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
  for (const char* host : {"::1", "::", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::127.0.0.1", "fe80::1", "ff02::1"}) {
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
  std::vector<uint64_t> waiting;
  for (int i = 0; i < 300; ++i) waiting.push_back(send(Op::receive, handle, {1, 0}));
  EXPECT_EQ(call(Op::statfs, 0, {}, "/").result, -ENOBUFS);
  int refused = 0;
  for (const uint64_t id : waiting)
    if (const auto reply = answer(id, 0); reply && reply->result == -ENOBUFS) ++refused;
  EXPECT_EQ(refused, 200);
  EXPECT_EQ(call(Op::close, handle, {}).result, -ENOBUFS) << "also this: it can be tried again";
  // Answers that nobody takes stop the proxy, not the host; none is lost.
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
