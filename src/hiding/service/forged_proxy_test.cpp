// Hidden calls whose proxy has been taken over. Whatever it answers, nothing crashes, waits for ever, or is kept for
// ever.
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <limits>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "hiding/service/hider_test.h"

namespace oboro::hiding {
namespace {

// The proxy's end of the channel is this test.
class ForgedProxyTest : public testing::Test {
 protected:
  void SetUp() override {
    auto fds = proxy::Channel::create();
    ASSERT_TRUE(fds);
    proxy::ChannelFds theirs{UniqueFd(dup(fds->memory.get())), UniqueFd(dup(fds->for_proxy.get())),
                             UniqueFd(dup(fds->for_tracer.get()))};
    std::array<int, 2> alive{};
    ASSERT_EQ(pipe(alive.data()), 0);
    life = UniqueFd(alive[1]);
    forger.emplace(std::move(*proxy::Channel::attach(std::move(theirs), proxy::Channel::Side::proxy)));
    auto service = std::make_unique<Service>();
    service->name = "service";
    service->exe = "/service";
    service->network = true;
    service->files.push_back(*labels::Pattern::parse("/var/secret/**"));
    service->set_first_proxy(std::make_shared<ProxyClient>(
        std::move(*proxy::Channel::attach(std::move(*fds), proxy::Channel::Side::tracer)), UniqueFd(alive[0])));
    services.push_back(std::move(service));
    guest = std::make_unique<FakeDispatch>(services);
    ASSERT_EQ(guest->exec(), End::ran);
  }
  // Every call, whichever it is, gets this answer.
  void answers(std::array<int64_t, 4> arguments, std::vector<std::byte> first = {}) {
    guest->may_go_on = [this, arguments, bytes = std::move(first)](const engine::Call&) {
      while (const auto asked = forger->receive(storage)) {
        proxy::Frame frame;
        frame.id = asked->id;
        frame.arguments = arguments;
        frame.first = bytes;
        (void)forger->send(frame);
      }
      return true;
    };
  }
  int64_t open_file() { return guest->answer(sys::open, {guest->put("/var/secret/a"), O_RDWR}); }

  std::vector<std::byte> storage;
  UniqueFd life;
  std::optional<proxy::Channel> forger;
  std::vector<std::unique_ptr<Service>> services;
  std::unique_ptr<FakeDispatch> guest;
};

TEST_F(ForgedProxyTest, ErrorsThatAreNone) {
  for (const int64_t error :
       {int64_t{-41}, int64_t{-58}, int64_t{-4000}, int64_t{-100000}, std::numeric_limits<int64_t>::min()}) {
    answers({error});
    EXPECT_EQ(open_file(), error);
  }
}

TEST_F(ForgedProxyTest, SizesThatAreNone) {
  answers({7, 7});
  ASSERT_EQ(open_file(), 0);
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_STREAM, 0}), 1);
  for (const int64_t size : {int64_t{1} << 62, std::numeric_limits<int64_t>::max(), int64_t{0}, int64_t{300}}) {
    answers({size, size}, std::vector<std::byte>(300));
    for (const uint64_t fd : {0, 1})
      for (const uint64_t number : {sys::read, sys::write, sys::readv, sys::sendto, sys::recvfrom, sys::getdents64,
                                    sys::fstat, sys::lseek, sys::getsockname, sys::getsockopt, sys::ioctl, sys::fcntl,
                                    sys::pread64, sys::pwrite64, sys::sendfile, sys::flock}) {
        const End end = guest->call(number, {fd, FakeDispatch::kUser, 100, 0, FakeDispatch::kUser + 500, 0});
        EXPECT_NE(end, End::stuck) << number << " " << size;
        // Nothing was written behind the bytes that the program named.
        EXPECT_EQ(guest->user[900], std::byte{0}) << number;
      }
  }
}

// A proxy that was taken over could keep every vCPU busy with answers to nothing.
TEST_F(ForgedProxyTest, AnswersThatNobodyAskedForAreTheEndOfIt) {
  answers({7});
  ASSERT_EQ(open_file(), 0);
  proxy::Frame frame;
  frame.id = 123456;
  ASSERT_TRUE(forger->send(frame));
  EXPECT_EQ(guest->answer(sys::write, {0, guest->put("x"), 1}), -EIO);
  EXPECT_TRUE(services[0]->proxy()->lied());
  EXPECT_FALSE(guest->reporter.reasons.empty());
  EXPECT_EQ(open_file(), -EIO);
  EXPECT_EQ(guest->answer(sys::close, {0}), 0);
  auto fds = proxy::Channel::create();
  ASSERT_TRUE(fds);
  const auto renewed = services[0]->renew_proxy(
      std::move(*proxy::Channel::attach(std::move(*fds), proxy::Channel::Side::tracer)), UniqueFd());
  ASSERT_FALSE(renewed) << "its end is not its own doing";
  EXPECT_NE(renewed.error().message.find("may have taken it over"), std::string::npos);
}

// A receive with MSG_WAITALL of more than a frame holds is asked for piece by piece.
TEST_F(ForgedProxyTest, AReceiveThatIsToHaveAllAsksUntilItHas) {
  answers({7});
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_STREAM, 0}), 0);
  const std::vector<std::byte> data(proxy::kMaxData, std::byte{'x'});
  std::vector<int64_t> asked_for;
  guest->may_go_on = [&](const engine::Call&) {
    while (const auto asked = forger->receive(storage)) {
      if (asked->op != proxy::Op::receive) continue;
      asked_for.push_back(asked->arguments[0]);
      proxy::Frame frame;
      frame.id = asked->id;
      frame.arguments[0] = asked->arguments[0];
      frame.first = std::span(data).first(static_cast<size_t>(asked->arguments[0]));
      (void)forger->send(frame);
    }
    return true;
  };
  constexpr uint64_t kPart = 900000, kAt = FakeDispatch::kUser + 100;
  const std::array<uint64_t, 4> parts{kAt, kPart, kAt, kPart};
  std::memcpy(guest->user.data(), parts.data(), sizeof parts);
  msghdr message{};
  message.msg_iov = reinterpret_cast<iovec*>(FakeDispatch::kUser);
  message.msg_iovlen = 2;
  const std::span<const std::byte> header = std::as_bytes(std::span(&message, 1));
  std::copy(header.begin(), header.end(), guest->user.begin() + 1000000);
  EXPECT_EQ(guest->answer(sys::recvmsg, {0, FakeDispatch::kUser + 1000000, MSG_WAITALL}), 1800000);
  EXPECT_EQ(asked_for, (std::vector<int64_t>{proxy::kMaxData, 1800000 - proxy::kMaxData}));
}

TEST_F(ForgedProxyTest, NoMoreThanWasAskedForIsSaidToHaveCome) {
  answers({7});
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  answers({1000, 0}, std::vector<std::byte>(1000));
  EXPECT_EQ(guest->answer(sys::recvfrom, {0, FakeDispatch::kUser, 10, 0, 0, 0}), 10);
  EXPECT_EQ(guest->answer(sys::recvfrom, {0, FakeDispatch::kUser, 10, MSG_TRUNC, 0, 0}), 1000);
  EXPECT_EQ(guest->answer(sys::sendto, {0, guest->put("abc"), 3, 0, 0, 0}), 3);
}

// The memory that answers hold here is bounded, whatever the proxy sends and however long nobody takes it.
TEST_F(ForgedProxyTest, AnswersThatNobodyTakesStayWhereTheyAre) {
  ProxyClient& client = *services[0]->proxy();
  constexpr size_t kCalls = 400;  // with the largest answers: three times what is kept
  std::vector<uint64_t> ids;
  const std::vector<std::byte> data(proxy::kMaxData);
  size_t answered = 0;
  for (size_t i = 0; i < kCalls; ++i) {
    proxy::Frame read;
    read.op = proxy::Op::read;
    const auto id = client.begin(read);
    ASSERT_TRUE(id) << i;
    ids.push_back(*id);
    ASSERT_TRUE(forger->receive(storage));
  }
  const auto feed = [&] {
    for (; answered < kCalls; ++answered) {
      proxy::Frame frame;
      frame.id = ids[answered];
      frame.arguments[0] = 1;
      frame.first = data;
      if (!forger->send(frame)) return;
    }
  };
  for (size_t i = 0; i < kCalls; ++i) {
    feed();
    (void)client.take(ids.back());
    ASSERT_LE(client.answers().used(), Budget::kMost + proxy::kMaxFrame);
  }
  EXPECT_LT(answered, kCalls);
  EXPECT_TRUE(client.answers().full());
  for (const uint64_t id : ids) {
    std::optional<Answer> answer = client.take(id);
    feed();
    ASSERT_TRUE(answer) << id;
  }
  EXPECT_EQ(client.answers().used(), 0u);
}

// Many threads have much to write. The memory that they hold is released when they are answered, so answers must come
// through.
TEST_F(ForgedProxyTest, WhatIsOnItsWayDoesNotKeepAnswersAway) {
  ProxyClient& client = *services[0]->proxy();
  Budget::Share held(client.outgoing());
  held.set(2 * Budget::kMost);
  answers({7, 7});
  ASSERT_EQ(open_file(), 0);
  answers({3});
  EXPECT_EQ(guest->answer(sys::write, {0, guest->put("abc"), 3}), 3);
}

TEST_F(ForgedProxyTest, AWaitEndsWithAProxyThatAnswersNothing) {
  answers({7});
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_STREAM, 0}), 0);
  const pollfd polled{0, POLLIN, 0};
  std::memcpy(guest->user.data(), &polled, sizeof polled);
  unsigned steps = 0;
  guest->may_go_on = [&](const engine::Call&) {
    if (++steps == 200) life.reset();  // long after the time was over
    return steps < 5000;
  };
  EXPECT_EQ(guest->call(sys::poll, {FakeDispatch::kUser, 1, 1}), End::answered);
  EXPECT_GE(steps, 200u);
}

}  // namespace
}  // namespace oboro::hiding
