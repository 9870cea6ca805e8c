// A service whose proxy has died and was started again. Both proxies number what they open from 1 on.
#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>

#include "hiding/service/hider_test.h"

namespace oboro::hiding {
namespace {

class RenewedProxyTest : public HiderTest {
 protected:
  static constexpr uint64_t kEvents = FakeDispatch::kUser + 2000;
  void die_and_renew() {
    kill_proxy();
    const auto renewed = renew_proxy();
    ASSERT_TRUE(renewed) << renewed.error().message;
  }
  int64_t socket() { return guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}); }
  int64_t write(uint64_t fd, std::string_view text) {
    return guest->answer(sys::write, {fd, guest->put(text), text.size()});
  }
  int64_t watch(uint64_t instance, uint64_t fd, uint64_t operation = EPOLL_CTL_ADD) {
    epoll_event event{EPOLLOUT, {}};
    event.data.u64 = fd;
    std::memcpy(guest->user.data() + 1000, &event, sizeof event);
    return guest->answer(sys::epoll_ctl, {instance, operation, fd, FakeDispatch::kUser + 1000});
  }
  epoll_event event(size_t index) const {
    epoll_event one{};
    std::memcpy(&one, guest->user.data() + 2000 + index * sizeof one, sizeof one);
    return one;
  }
};

TEST_P(RenewedProxyTest, WhatWasOpenStaysBrokenAndIsNeverTakenForWhatIsOpenNow) {
  ASSERT_EQ(open_file("/var/secret/old"), 0);
  ASSERT_EQ(write(0, "before"), 6);
  die_and_renew();
  ASSERT_EQ(open_file("/var/secret/new"), 1) << "the first that is open in this proxy, as the other was in the last";
  EXPECT_EQ(write(0, "late"), -EIO);
  EXPECT_EQ(guest->answer(sys::read, {0, FakeDispatch::kUser, 10}), -EIO);
  EXPECT_EQ(guest->answer(sys::fstat, {0, FakeDispatch::kUser}), -EIO);
  EXPECT_EQ(guest->answer(sys::linkat, {0, guest->put(""), kCwd, guest->put("/var/secret/l", 500), AT_EMPTY_PATH}),
            -EIO);
  EXPECT_EQ(write(1, "after"), 5);
  EXPECT_EQ(guest->answer(sys::close, {0}), 0);
  EXPECT_EQ(write(1, "!"), 1) << "a close of the old one has closed the new one";
  EXPECT_EQ(on_host("/var/secret/old"), "before");
  EXPECT_EQ(on_host("/var/secret/new"), "after!");
  EXPECT_EQ(socket(), 0);
}

TEST_P(RenewedProxyTest, ItCanDieMoreThanOnce) {
  for (uint64_t i = 0; i < 5; ++i) {
    ASSERT_EQ(open_file("/var/secret/a"), static_cast<int64_t>(i));
    ASSERT_EQ(write(i, "x"), 1);
    die_and_renew();
    for (uint64_t old = 0; old <= i; ++old) ASSERT_EQ(write(old, "y"), -EIO) << i << " " << old;
  }
  EXPECT_EQ(on_host("/var/secret/a"), "x");
  EXPECT_TRUE(guest->reporter.reasons.empty());
}

TEST_P(RenewedProxyTest, APollOfOldAndNewTellsOfBoth) {
  ASSERT_EQ(socket(), 0);
  die_and_renew();
  ASSERT_EQ(socket(), 1);
  const pollfd polled[] = {{0, POLLIN, 0}, {1, POLLOUT, 0}};
  std::memcpy(guest->user.data(), polled, sizeof polled);
  ASSERT_EQ(guest->answer(sys::poll, {FakeDispatch::kUser, 2, static_cast<uint64_t>(-1)}), 2);
  const auto* got = reinterpret_cast<const pollfd*>(guest->user.data());
  EXPECT_EQ(got[0].revents, POLLERR | POLLHUP);
  EXPECT_EQ(got[1].revents, POLLOUT);
  // The old one alone does not wait, either.
  ASSERT_EQ(guest->answer(sys::poll, {FakeDispatch::kUser, 1, static_cast<uint64_t>(-1)}), 1);
}

TEST_P(RenewedProxyTest, AnEpollInstanceGoesOnWithTheNewOne) {
  ASSERT_EQ(guest->answer(sys::epoll_create1, {0}), 0);
  ASSERT_EQ(socket(), 1);
  ASSERT_EQ(watch(0, 1), 0);
  die_and_renew();
  ASSERT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, static_cast<uint64_t>(-1)}), 1);
  EXPECT_EQ(uint32_t{event(0).events}, EPOLLERR | EPOLLHUP);
  EXPECT_EQ(uint64_t{event(0).data.u64}, 1u);
  ASSERT_EQ(socket(), 2);
  ASSERT_EQ(watch(0, 2), 0);
  ASSERT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, static_cast<uint64_t>(-1)}), 2);
  EXPECT_EQ(uint32_t{event(1).events}, EPOLLOUT);
  EXPECT_EQ(uint64_t{event(1).data.u64}, 2u);
  EXPECT_EQ(watch(0, 1, EPOLL_CTL_MOD), -EIO);
  EXPECT_EQ(watch(0, 1, EPOLL_CTL_DEL), 0);
  ASSERT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, 0}), 1);
  EXPECT_EQ(uint64_t{event(0).data.u64}, 2u);
  EXPECT_EQ(watch(0, 1), -EIO) << "it is broken for good";
}

TEST_P(RenewedProxyTest, ACallUnderWayEndsWithItsProxy) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "the vCPU stands still, there is no middle";
  ASSERT_EQ(socket(), 0);
  stop_at_pause(5);
  ASSERT_EQ(guest->call(sys::recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), End::stuck);
  die_and_renew();
  guest->may_go_on = nullptr;
  ASSERT_EQ(guest->first.go_on(Symbol::fn_syscall_user_dispatch), End::answered);
  EXPECT_EQ(guest->first.result, -EIO);
  EXPECT_EQ(calls_left(), 0u);
}

TEST_P(RenewedProxyTest, NotForAServiceThatIsNotHiddenAnyMore) {
  kill_proxy();
  EXPECT_EQ(guest->hider.retire(false), "");
  const auto renewed = renew_proxy();
  ASSERT_FALSE(renewed);
  EXPECT_NE(renewed.error().message.find("not hidden any more"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Waits, RenewedProxyTest, testing::Values(Wait::park, Wait::yield, Wait::block), wait_name);

}  // namespace
}  // namespace oboro::hiding
