// A proxy at work on its channel. The test is the tracer's end. Its network is a namespace of this process with one
// address, 10.9.9.1.
#pragma once

#include <arpa/inet.h>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <net/if.h>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "proxy/server.h"

namespace oboro::proxy {

inline constexpr char kOutside[] = "10.9.9.1";

inline sockaddr_in address(const char* host, uint16_t port) {
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

// Once for the process: threads that it starts later are in the namespace, too.
inline bool have_network() {
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
    if (!have_network()) GTEST_SKIP() << "this host: lets nobody make a network namespace";
    umask(0);
    char path[] = "/tmp/oboro-server-test-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    root = path;
    policy.remote = true;
    policy.listen = {5140};
    policy.is_own = [](std::span<const std::byte>) { return false; };  // what it talks to is here
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
  // The answer to a call, within a time. Other answers that come meanwhile are kept.
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
  // A server outside, to which the proxy's sockets connect.
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

}  // namespace oboro::proxy
