// Waiting for hidden descriptors beside others: epoll, poll, select, locks, and how a wait passes its time.
#include <algorithm>
#include <cerrno>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>

#include "hiding/service/hider_test.h"

namespace oboro::hiding {
namespace {

using fake::FakeThread;

constexpr uint64_t kEvents = FakeDispatch::kUser + 500, kForEver = static_cast<uint64_t>(-1);

class WaitingTest : public HiderTest {
 protected:
  // An epoll instance, 0, that watches a hidden socket, 1.
  void watch_a_socket(uint32_t events, uint64_t data = 0) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    std::memcpy(guest->user.data(), &event, sizeof event);
    ASSERT_EQ(guest->answer(sys::epoll_create1, {0}), 0);
    ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 1);
    ASSERT_EQ(guest->answer(sys::epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
  }
};

TEST_P(WaitingTest, AnEpollInstanceWatchesWhatIsHidden) {
  const auto watch = [&](int operation, uint64_t number, uint32_t events, uint64_t data) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    std::memcpy(guest->user.data(), &event, sizeof event);
    return guest->answer(sys::epoll_ctl, {0, static_cast<uint64_t>(operation), number, FakeDispatch::kUser});
  };
  const auto found = [&] {
    epoll_event event;
    std::memcpy(&event, guest->user.data() + 500, sizeof event);
    return std::pair(uint32_t{event.events}, uint64_t{event.data.u64});
  };
  ASSERT_EQ(guest->answer(sys::epoll_create1, {0}), 0);
  EXPECT_EQ(guest->call(sys::epoll_wait, {0, kEvents, 4, 0}), End::native) << "it is the kernel's alone still";
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 1);
  EXPECT_EQ(watch(EPOLL_CTL_ADD, 1, EPOLLOUT, 77), 0);
  EXPECT_EQ(watch(EPOLL_CTL_ADD, 1, EPOLLOUT, 78), -EEXIST);
  EXPECT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, kForEver}), 1);
  EXPECT_EQ(found(), (std::pair<uint32_t, uint64_t>(EPOLLOUT, 77)));
  EXPECT_EQ(watch(EPOLL_CTL_MOD, 1, EPOLLIN, 79), 0);
  EXPECT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, 1}), 0);
  ASSERT_EQ(open_file("/var/secret/a"), 2);
  EXPECT_EQ(watch(EPOLL_CTL_ADD, 2, EPOLLIN, 80), -EPERM) << "as of any regular file";
  EXPECT_EQ(guest->answer(sys::epoll_wait, {1, kEvents, 4, 0}), -EINVAL);
  EXPECT_EQ(guest->answer(sys::epoll_ctl, {1, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), -EINVAL);
  kill_proxy();
  EXPECT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, kForEver}), 1);
  EXPECT_EQ(found(), (std::pair<uint32_t, uint64_t>(EPOLLERR | EPOLLHUP, 79)));
}

// With nothing left to wait for outside, the call is the kernel's.
TEST_P(WaitingTest, AnEpollInstanceWhoseSocketsAreGoneWithTheirProxyIsTheKernels) {
  watch_a_socket(EPOLLIN);
  ASSERT_EQ(guest->answer(sys::close, {1}), 0);
  kill_proxy();
  EXPECT_EQ(guest->call(sys::epoll_wait, {0, kEvents, 4, kForEver}), End::native);
}

TEST_P(WaitingTest, WithoutAProxyAnEpollInstanceStillHasTheGuestsOwn) {
  watch_a_socket(EPOLLIN, 77);
  kill_proxy();
  guest->instead = [&](const engine::Call& to) -> std::optional<uint64_t> {
    if (to.function != guest->guest.symbol(Symbol::call_sys_epoll_wait)) return std::nullopt;
    epoll_event event{};
    event.data.u64 = 88;
    std::memcpy(guest->user.data() + 500, &event, sizeof event);
    return 1;
  };
  ASSERT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, kForEver}), 2);
  std::array<epoll_event, 2> found{};
  std::memcpy(found.data(), guest->user.data() + 500, sizeof found);
  EXPECT_EQ(uint64_t{found[0].data.u64}, 88u);
  EXPECT_EQ(uint64_t{found[1].data.u64}, 77u);
  EXPECT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 1, kForEver}), 1);
  EXPECT_EQ(guest->answer(sys::epoll_ctl, {0, EPOLL_CTL_DEL, 1, FakeDispatch::kUser}), 0);
  EXPECT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, kForEver}), 1) << "it has been told of that one";
}

TEST_P(WaitingTest, AnEpollWaitEndsWhenServicesRetire) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "the vCPU stands still, there is no middle";
  watch_a_socket(EPOLLIN);
  stop_at_pause(3);
  ASSERT_EQ(guest->call(sys::epoll_wait, {0, kEvents, 4, kForEver}), End::stuck);
  guest->may_go_on = nullptr;
  EXPECT_NE(guest->hider.retire(true), "");
  EXPECT_EQ(guest->first.go_on(Symbol::fn_syscall_user_dispatch), End::answered);
  EXPECT_EQ(guest->hider.retire(false), "");
}

TEST_P(WaitingTest, AnEpollInstanceIsNotTakenForAClosedOneWithAllTheSameMemory) {
  watch_a_socket(EPOLLOUT);
  guest->instead = [&](const engine::Call& to) -> std::optional<uint64_t> {
    return to.function == guest->guest.symbol(Symbol::call_sys_epoll_create1) ? std::optional<uint64_t>(0)
                                                                              : std::nullopt;
  };
  ASSERT_EQ(guest->answer(sys::epoll_create1, {0}), 0);
  EXPECT_EQ(guest->call(sys::epoll_wait, {0, kEvents, 4, 0}), End::native) << "it watches nothing that is hidden";
}

TEST_P(WaitingTest, AnEpollInstanceAtTheAddressOfAnotherIsItself) {
  watch_a_socket(EPOLLOUT);
  EXPECT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, 0}), 1);
  // The kernel closed the instance, and has given its memory to one that another program made.
  guest->guest.set(guest->file_of(0), guest::Field::file_private_data, guest->guest.allocate());
  EXPECT_EQ(guest->call(sys::epoll_wait, {0, kEvents, 4, 0}), End::native);
  EXPECT_EQ(guest->answer(sys::epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
  EXPECT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, 0}), 1);
}

TEST_P(WaitingTest, AnEpollInstanceIsInherited) {
  const epoll_event event{EPOLLOUT, {}};
  std::memcpy(guest->user.data(), &event, sizeof event);
  for (int i = 0; i < 10; ++i) {  // the proxy has room for 8 handles
    ASSERT_EQ(guest->answer(sys::epoll_create1, {0}), 0);
    ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 1);
    FakeThread child(*guest, guest->make_process(200 + i), 1);
    guest->guest.set_file(child.task, 0, guest->file_of(0));
    guest->forks(guest->first, child.task);
    ASSERT_EQ(child.answer(sys::epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
    EXPECT_EQ(guest->answer(sys::epoll_wait, {0, kEvents, 4, 0}), 1) << "what the child has told it to watch";
    ASSERT_EQ(guest->exits(), End::ran);
    EXPECT_EQ(child.answer(sys::epoll_wait, {0, kEvents, 4, 0}), 1);
    ASSERT_EQ(child.exits(), End::ran);
    guest->close_all();
    ASSERT_EQ(guest->exec(), End::ran);
  }
}

// Not in turns of looking and sleeping: a waiting thread wakes when an ordinary descriptor is ready.
TEST_P(WaitingTest, AWaitForBothWorldsSleepsInTheKernelsOwnWait) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only that sleeps";
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  constexpr size_t kFar = 70;
  const pollfd polled[] = {{0, POLLIN, 0}, {kFar, POLLIN, 0}};
  std::memcpy(guest->user.data(), polled, sizeof polled);
  unsigned slept = 0, looked = 0;
  bool ready = false;
  guest->instead = [&](const engine::Call& to) -> std::optional<uint64_t> {
    if (to.function == guest->guest.symbol(Symbol::call_sys_poll)) {
      ++looked;
      pollfd* all = reinterpret_cast<pollfd*>(guest->user.data());
      all[0].revents = POLLNVAL;  // as the kernel sees ours
      all[1].revents = ready ? POLLIN : 0;
      return 1 + ready;
    }
    if (to.function != guest->guest.symbol(Symbol::call_do_select)) return std::nullopt;
    EXPECT_EQ(to.arguments[0], kFar + 1);
    EXPECT_EQ(guest->guest.word(Gva(guest->guest.word(Gva(to.arguments[1])))), 0u) << "ours are not in the sets";
    EXPECT_EQ(guest->guest.word(Gva(guest->guest.word(Gva(to.arguments[1])) + 8)), uint64_t{1} << (kFar - 64));
    ready = ++slept == 3;
    if (!ready) usleep(static_cast<useconds_t>(guest->guest.word(Gva(to.arguments[2]) + 8) / 1000));
    return ready;
  };
  EXPECT_EQ(guest->answer(sys::poll, {FakeDispatch::kUser, 2, 60000}), 1);
  EXPECT_EQ(slept, 3u);
  EXPECT_GE(looked, 3u);
  std::memcpy(guest->user.data(), polled, sizeof polled);
  slept = 10;
  ready = false;
  guest->sleep_result = -EINTR;
  EXPECT_EQ(guest->answer(sys::poll, {FakeDispatch::kUser, 2, 60000}), kRestartNoHand);
}

TEST_P(WaitingTest, ASignalEndsAWait) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only a sleep is told of signals";
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  guest->sleep_result = -EINTR;
  EXPECT_EQ(guest->answer(sys::recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), kRestartSys);
  guest->sleep_result = 0;
  EXPECT_EQ(guest->answer(sys::recvfrom, {0, FakeDispatch::kUser, 100, MSG_DONTWAIT, 0, 0}), -EAGAIN);
}

TEST_P(WaitingTest, AWakeUpThatWasMeantForAnotherWaitIsNoSignal) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only a sleep is told of signals";
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  unsigned sleeps = 0;
  guest->instead = [&](const engine::Call& to) -> std::optional<uint64_t> {
    if (to.function != guest->guest.symbol(Symbol::call_schedule_hrtimeout)) return std::nullopt;
    if (++sleeps == 4) guest->sleep_result = -EINTR;  // from then on a true signal
    if (sleeps != 1) return std::nullopt;
    return static_cast<uint64_t>(-EINTR);
  };
  EXPECT_EQ(guest->answer(sys::recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), kRestartSys);
  EXPECT_GE(sleeps, 4u);
}

TEST_P(WaitingTest, ASocketThatIsWatchedAgainAndAgainIsRememberedOnce) {
  epoll_event event{EPOLLOUT, {}};
  std::memcpy(guest->user.data(), &event, sizeof event);
  ASSERT_EQ(guest->answer(sys::epoll_create1, {0}), 0);
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 1);
  ASSERT_EQ(guest->answer(sys::dup, {1}), 2);
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(guest->answer(sys::epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
    ASSERT_EQ(guest->answer(sys::epoll_ctl, {0, EPOLL_CTL_DEL, 2, FakeDispatch::kUser}), 0);
  }
  ASSERT_EQ(guest->answer(sys::epoll_ctl, {0, EPOLL_CTL_ADD, 2, FakeDispatch::kUser}), 0);
  const std::lock_guard lock(services[0]->epolls_mutex);
  ASSERT_EQ(services[0]->epolls.size(), 1u);
  EXPECT_EQ(services[0]->epolls.begin()->second.lock()->watched.size(), 1u);
}

// What the kernel's own poll says then is meant for its restart. The restart here is another one.
TEST_P(WaitingTest, ASignalThatIsThereAtOnceEndsAPollOfBothWorldsAsAnyOther) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only a sleep is told of signals";
  watch_a_socket(EPOLLIN);
  constexpr uint64_t kTime = FakeDispatch::kUser + 400, kMask = FakeDispatch::kUser + 500;
  bool restored = false;
  guest->instead = [&](const engine::Call& to) -> std::optional<uint64_t> {
    restored |= to.function == guest->guest.symbol(Symbol::call_sys_epoll_pwait);
    constexpr int64_t kRestartBlocked = -516;  // ERESTART_RESTARTBLOCK
    if (to.function == guest->guest.symbol(Symbol::call_sys_poll)) return kRestartBlocked;
    return std::nullopt;
  };
  guest->sleep_result = -EINTR;
  const auto polls = [&](uint64_t number, uint64_t time) {
    const pollfd polled{static_cast<int>(number), POLLIN, 0};
    std::memcpy(guest->user.data(), &polled, sizeof polled);
    std::memset(guest->user.data() + 400, 0, 16);
    return guest->answer(sys::ppoll, {FakeDispatch::kUser, 1, time, kMask, 8});
  };
  EXPECT_EQ(polls(0, 0), kRestartNoHand);
  EXPECT_EQ(polls(1, kTime), kRestartNoHand) << "with no time to wait, and the mask";
  EXPECT_FALSE(restored) << "the signal is to come through";
}

TEST_P(WaitingTest, APollThatGoesOnAfterASignalEndsAtItsTime) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only a sleep is told of signals";
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  const pollfd polled{0, POLLIN, 0};
  std::memcpy(guest->user.data(), &polled, sizeof polled);
  constexpr uint64_t kMilliseconds = 20;
  guest->sleep_result = -EINTR;
  const auto polls = [&](uint64_t milliseconds) {
    return guest->answer(sys::poll, {FakeDispatch::kUser, 1, milliseconds});
  };
  ASSERT_EQ(polls(kMilliseconds), kRestartNoHand);
  usleep(kMilliseconds * 1500);
  EXPECT_EQ(polls(kMilliseconds), 0) << "it is over";
  ASSERT_EQ(polls(kMilliseconds), kRestartNoHand) << "another call";
  usleep(kMilliseconds * 1500);
  EXPECT_EQ(polls(kMilliseconds + 1), kRestartNoHand) << "another one, too";
  usleep(kMilliseconds * 1500);
  EXPECT_EQ(guest->call(sys::rt_sigreturn), End::native);
  EXPECT_EQ(polls(kMilliseconds + 1), kRestartNoHand) << "the program went on";
}

TEST_P(WaitingTest, SelectTakesAndGivesAsManyNumbersAsTheTableHas) {
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  constexpr size_t kTable = fake::FakeGuest::kDescriptors / 8;
  std::fill_n(guest->user.begin(), 1024, std::byte{0xff});
  std::fill_n(guest->user.begin(), kTable, std::byte{0});
  guest->user[0] = std::byte{1};
  EXPECT_EQ(guest->answer(sys::select, {4096, 0, FakeDispatch::kUser, 0, 0}), 1);
  EXPECT_EQ(guest->user[0], std::byte{1}) << "to be written to";
  for (size_t i = kTable; i < 1024; ++i) ASSERT_EQ(guest->user[i], std::byte{0xff}) << i;
}

TEST_P(WaitingTest, WhoWaitsForALockEndsWhenServicesRetire) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "the vCPU stands still, there is no middle";
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  ASSERT_EQ(open_file("/var/secret/a"), 1);
  ASSERT_EQ(guest->answer(sys::flock, {0, LOCK_EX}), 0);
  stop_at_pause(40);
  ASSERT_EQ(guest->call(sys::flock, {1, LOCK_EX}), End::stuck);
  guest->may_go_on = nullptr;
  EXPECT_NE(guest->hider.retire(true), "");
  EXPECT_EQ(guest->first.go_on(Symbol::fn_syscall_user_dispatch), End::answered);
}

TEST_P(WaitingTest, TheFirstSleepIsAsLongAsSuchACallIsExpectedToTake) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only that sleeps";
  steer::Expectation& expectation = services[0]->expectations[static_cast<size_t>(proxy::Op::access)];
  std::vector<uint64_t> slept;
  guest->instead = [&](const engine::Call& to) -> std::optional<uint64_t> {
    EXPECT_NE(to.function, guest->guest.symbol(Symbol::call_yield));
    if (to.function == guest->guest.symbol(Symbol::call_schedule_hrtimeout))
      slept.push_back(guest->guest.word(Gva(to.arguments[0])));
    return std::nullopt;
  };
  const uint64_t path = guest->put("/var/secret");
  uint64_t expected = 0;
  // On a busy host the answer may be there before the first look.
  for (int i = 0; i < 1000 && slept.empty(); ++i) {
    while (expectation.ns() < 500'000) expectation.was_not_there(2'000'000);
    expected = expectation.ns();
    ASSERT_EQ(guest->answer(sys::access, {path, 0}), 0);
  }
  ASSERT_FALSE(slept.empty());
  EXPECT_EQ(slept[0], expected);
  EXPECT_NE(expectation.ns(), expected) << "nothing was learned";
}

TEST_P(WaitingTest, WhereOthersWantTheCpuABriefWaitKeepsIt) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "the others always do the same";
  unsigned pauses = 0;
  bool slow = true;
  guest->instead = [&](const engine::Call& to) -> std::optional<uint64_t> {
    const bool yields = to.function == guest->guest.symbol(Symbol::call_yield);
    pauses += yields || to.function == guest->guest.symbol(Symbol::call_schedule_hrtimeout);
    if (yields && std::exchange(slow, false)) usleep(200'000);  // another task has run
    return std::nullopt;
  };
  const uint64_t path = guest->put("/var/secret");
  while (slow) ASSERT_EQ(guest->answer(sys::access, {path, 0}), 0);
  steer::Expectation& expectation = services[0]->expectations[static_cast<size_t>(proxy::Op::access)];
  // Of fifty in a row most keep it, and nearly none if nobody does on purpose. On a host that stalls the next fifty
  // tell.
  unsigned kept = 0;
  for (int tries = 0; tries < 10 && kept <= 10; ++tries) {
    kept = 0;
    for (int i = 0; i < 50; ++i) {
      // As if all had been short: a busy host takes its own time.
      while (expectation.ns() > 1'000) expectation.was_not_there(0);
      pauses = 0;
      ASSERT_EQ(guest->answer(sys::access, {path, 0}), 0);
      kept += pauses == 0;
    }
  }
  EXPECT_GT(kept, 10u);
}

INSTANTIATE_TEST_SUITE_P(Waits, WaitingTest, testing::Values(Wait::park, Wait::yield, Wait::block), wait_name);

}  // namespace
}  // namespace oboro::hiding
