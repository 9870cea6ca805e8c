// For tests of hidden calls: a fake guest with one hidden service, whose proxy is real and runs in a thread of this
// process.
#pragma once

#include <array>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "labels/pattern.h"
#include "proxy/server.h"
#include "tests/support/hiding/fake_dispatch.h"

namespace oboro::hiding {

using fake::FakeDispatch;
using guest::Symbol;
using End = FakeDispatch::End;

inline constexpr uint64_t kCwd = static_cast<uint64_t>(AT_FDCWD);

class HiderTest : public testing::TestWithParam<Wait> {
 protected:
  void SetUp() override {
    char path[] = "/tmp/oboro-hider-test-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    root = path;
    std::filesystem::create_directories(root + "/var/secret");
    auto service = std::make_unique<Service>();
    service->name = "service";
    service->exe = "/service";
    service->network = true;
    service->files.push_back(*labels::Pattern::parse("/var/secret/**"));
    Ends ends = start_server();
    service->set_first_proxy(std::make_shared<ProxyClient>(std::move(*ends.channel), std::move(ends.alive)));
    services.push_back(std::move(service));
    guest = std::make_unique<FakeDispatch>(services, GetParam());
    ASSERT_EQ(guest->exec(), End::ran);
    ASSERT_TRUE(guest->is_marked());
  }
  void TearDown() override {
    guest.reset();
    life.reset();
    if (server.joinable()) server.join();
    std::filesystem::remove_all(root);
  }
  // What the tracer has of a proxy.
  struct Ends {
    std::optional<proxy::Channel> channel;
    UniqueFd alive;
  };
  Ends start_server() {
    Result<proxy::ChannelFds> fds = proxy::Channel::create();
    std::array<int, 2> ends{}, alive{};
    EXPECT_TRUE(fds && pipe(ends.data()) == 0 && pipe(alive.data()) == 0);
    proxy::ChannelFds theirs{UniqueFd(dup(fds->memory.get())), UniqueFd(dup(fds->for_proxy.get())),
                             UniqueFd(dup(fds->for_tracer.get()))};
    life = UniqueFd(ends[1]);
    lives = UniqueFd(alive[1]);
    server = std::thread([this, channel = std::move(theirs), end = ends[0]]() mutable {
      proxy::NetworkPolicy policy;
      policy.remote = true;
      proxy::ServerLimits limits;
      limits.handles = 8;
      (void)proxy::serve(std::move(*proxy::Channel::attach(std::move(channel), proxy::Channel::Side::proxy)),
                         UniqueFd(open(root.c_str(), O_PATH | O_DIRECTORY)), policy, limits, UniqueFd(end));
    });
    Ends made;
    made.channel.emplace(std::move(*proxy::Channel::attach(std::move(*fds), proxy::Channel::Side::tracer)));
    made.alive = UniqueFd(alive[0]);
    return made;
  }
  void kill_proxy() {
    life.reset();
    server.join();
    lives.reset();
  }
  Result<void> renew_proxy() {
    Ends ends = start_server();
    return services[0]->renew_proxy(std::move(*ends.channel), std::move(ends.alive));
  }
  int64_t open_file(std::string_view path, uint64_t flags = O_RDWR | O_CREAT) {
    return guest->answer(sys::openat, {kCwd, guest->put(path), flags, 0600});
  }
  // The vCPU does not come back from this pause: another task runs, or the task has died.
  void stop_at_pause(unsigned number) {
    guest->may_go_on = [this, left = number](const engine::Call& to) mutable {
      const bool pause = to.function == guest->guest.symbol(Symbol::call_yield) ||
                         to.function == guest->guest.symbol(Symbol::call_schedule_hrtimeout);
      return !pause || --left > 0;
    };
  }
  // Waits until no call is on its way to the proxy any more: 0. (Answers are looked at when a call is asked.)
  size_t calls_left() {
    for (int i = 0; i < 2000 && services[0]->proxy()->calls() > 0; ++i)
      (void)guest->answer(sys::access, {guest->put("/var/secret"), 0});
    return services[0]->proxy()->calls();
  }
  std::string on_host(const std::string& path) const {
    std::ifstream file(root + path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string root;
  UniqueFd life, lives;
  std::thread server;
  std::vector<std::unique_ptr<Service>> services;
  std::unique_ptr<FakeDispatch> guest;
};

inline std::string wait_name(const testing::TestParamInfo<Wait>& test) {
  return test.param == Wait::park ? "park" : test.param == Wait::yield ? "yield" : "block";
}

}  // namespace oboro::hiding
