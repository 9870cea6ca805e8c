// Hidden calls from the hook to a real proxy server and back, in a guest that is fake.
#include "hiding/hider_test.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace oboro::hiding {
namespace {

using fake::FakeThread;

TEST_P(HiderTest, OpensWritesReadsAndCloses) {
  EXPECT_EQ(open_file("/var/secret/a"), 0) << "the lowest number that is free";
  EXPECT_EQ(open_file("/var/secret/b"), 1);
  EXPECT_TRUE(guest->is_open(0) && guest->is_open(1));
  EXPECT_EQ(guest->answer(SYS_write, {0, guest->put("hidden"), 6}), 6);
  EXPECT_EQ(on_host("/var/secret/a"), "hidden");
  EXPECT_EQ(guest->answer(SYS_pread64, {0, FakeDispatch::kUser + 500, 100, 2}), 4);
  EXPECT_EQ(guest->text(500, 4), "dden");
  EXPECT_EQ(guest->answer(SYS_close, {0}), 0);
  EXPECT_FALSE(guest->is_open(0));
  EXPECT_TRUE(guest->is_open(1));
  EXPECT_EQ(guest->call(SYS_write, {0, guest->put("x"), 1}), End::native) << "nobody's number again";
  EXPECT_EQ(open_file("/var/secret/c"), 0);
}

TEST_P(HiderTest, ManyBytesGoInPieces) {
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  for (size_t i = 0; i < 300000; ++i) guest->user[i + 1000] = static_cast<std::byte>(i % 251);
  EXPECT_EQ(guest->answer(SYS_write, {0, FakeDispatch::kUser + 1000, 300000}), 300000);
  EXPECT_EQ(guest->answer(SYS_pread64, {0, FakeDispatch::kUser + 400000, 300000, 0}), 300000);
  EXPECT_EQ(guest->text(1000, 300000), guest->text(400000, 300000));
}

TEST_P(HiderTest, WhatIsNotHiddenIsTheKernels) {
  EXPECT_EQ(guest->call(SYS_openat, {kCwd, guest->put("/tmp/x"), O_RDWR, 0}), End::native);
  EXPECT_EQ(guest->call(SYS_openat, {kCwd, guest->put("/var/secretary"), O_RDWR, 0}), End::native);
  EXPECT_EQ(guest->call(SYS_getpid), End::native);
  EXPECT_EQ(guest->first.returns_to_caller, 3u);
  EXPECT_FALSE(std::filesystem::exists(root + "/tmp"));
}

TEST_P(HiderTest, PointersThatLeadNowhereAreFaults) {
  EXPECT_EQ(guest->answer(SYS_openat, {kCwd, 0x1000, O_RDWR, 0}), -EFAULT);
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  EXPECT_EQ(guest->answer(SYS_write, {0, 0x1000, 10}), -EFAULT);
  EXPECT_EQ(guest->answer(SYS_write, {0, guest->put("abc"), 3}), 3);
  EXPECT_EQ(guest->answer(SYS_pread64, {0, 0x1000, 3, 0}), -EFAULT);
  EXPECT_EQ(guest->answer(SYS_fstat, {0, 0x1000}), -EFAULT);
}

TEST_P(HiderTest, AnswersWhatTheProxySaysIsWrong) {
  EXPECT_EQ(open_file("/var/secret/none", O_RDONLY), -ENOENT);
  EXPECT_FALSE(guest->is_open(0));
  EXPECT_EQ(open_file("/var/secret/none/a"), -ENOENT);
  EXPECT_EQ(guest->answer(SYS_mkdir, {guest->put("/var/secret/d"), 0700}), 0);
  EXPECT_EQ(guest->answer(SYS_mkdir, {guest->put("/var/secret/d"), 0700}), -EEXIST);
}

TEST_P(HiderTest, PathsDoNotLeaveTheRoot) {
  std::ofstream(root + ".outside") << "canary";
  EXPECT_EQ(guest->answer(SYS_symlink, {guest->put("../../../.."), guest->put("/var/secret/l", 200)}), 0);
  EXPECT_LT(open_file("/var/secret/l" + root + ".outside", O_RDONLY), 0);
  std::filesystem::remove(root + ".outside");
}

TEST_P(HiderTest, AnEpollInstanceWatchesWhatIsHidden) {
  constexpr uint64_t kEvents = FakeDispatch::kUser + 500;
  const auto watch = [&](int operation, uint64_t number, uint32_t events, uint64_t data) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    std::memcpy(guest->user.data(), &event, sizeof event);
    return guest->answer(SYS_epoll_ctl, {0, static_cast<uint64_t>(operation), number, FakeDispatch::kUser});
  };
  const auto found = [&] {
    epoll_event event;
    std::memcpy(&event, guest->user.data() + 500, sizeof event);
    return std::pair(uint32_t{event.events}, uint64_t{event.data.u64});
  };
  ASSERT_EQ(guest->answer(SYS_epoll_create1, {0}), 0);
  EXPECT_EQ(guest->call(SYS_epoll_wait, {0, kEvents, 4, 0}), End::native) << "it is the kernel's alone still";
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 1);
  EXPECT_EQ(watch(EPOLL_CTL_ADD, 1, EPOLLOUT, 77), 0);
  EXPECT_EQ(watch(EPOLL_CTL_ADD, 1, EPOLLOUT, 78), -EEXIST);
  EXPECT_EQ(guest->answer(SYS_epoll_wait, {0, kEvents, 4, static_cast<uint64_t>(-1)}), 1);
  EXPECT_EQ(found(), (std::pair<uint32_t, uint64_t>(EPOLLOUT, 77)));
  EXPECT_EQ(watch(EPOLL_CTL_MOD, 1, EPOLLIN, 79), 0);
  EXPECT_EQ(guest->answer(SYS_epoll_wait, {0, kEvents, 4, 1}), 0);
  ASSERT_EQ(open_file("/var/secret/a"), 2);
  EXPECT_EQ(watch(EPOLL_CTL_ADD, 2, EPOLLIN, 80), -EPERM) << "as of any regular file";
  EXPECT_EQ(guest->answer(SYS_epoll_wait, {1, kEvents, 4, 0}), -EINVAL);
  EXPECT_EQ(guest->answer(SYS_epoll_ctl, {1, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), -EINVAL);
  kill_proxy();
  EXPECT_EQ(guest->answer(SYS_epoll_wait, {0, kEvents, 4, static_cast<uint64_t>(-1)}), 1);
  EXPECT_EQ(found(), (std::pair<uint32_t, uint64_t>(EPOLLERR | EPOLLHUP, 79)));
}

// With nothing outside left to wait for, it is the kernel's.
TEST_P(HiderTest, AnEpollInstanceWhoseSocketsAreGoneWithTheirProxyIsTheKernels) {
  constexpr uint64_t kEvents = FakeDispatch::kUser + 500, kForEver = static_cast<uint64_t>(-1);
  const epoll_event event{EPOLLIN, {}};
  std::memcpy(guest->user.data(), &event, sizeof event);
  ASSERT_EQ(guest->answer(SYS_epoll_create1, {0}), 0);
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 1);
  ASSERT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
  ASSERT_EQ(guest->answer(SYS_close, {1}), 0);
  kill_proxy();
  EXPECT_EQ(guest->call(SYS_epoll_wait, {0, kEvents, 4, kForEver}), End::native);
}

TEST_P(HiderTest, WithoutAProxyAnEpollInstanceStillHasTheGuestsOwn) {
  constexpr uint64_t kEvents = FakeDispatch::kUser + 500, kForEver = static_cast<uint64_t>(-1);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 77;
  std::memcpy(guest->user.data(), &event, sizeof event);
  ASSERT_EQ(guest->answer(SYS_epoll_create1, {0}), 0);
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 1);
  ASSERT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
  kill_proxy();
  guest->instead = [&](const engine::Detour& to) -> std::optional<uint64_t> {
    if (to.rip != guest->guest.symbol(Symbol::call_sys_epoll_wait).value) return std::nullopt;
    event.data.u64 = 88;
    std::memcpy(guest->user.data() + 500, &event, sizeof event);
    return 1;
  };
  ASSERT_EQ(guest->answer(SYS_epoll_wait, {0, kEvents, 4, kForEver}), 2);
  std::array<epoll_event, 2> found{};
  std::memcpy(found.data(), guest->user.data() + 500, sizeof found);
  EXPECT_EQ(uint64_t{found[0].data.u64}, 88u);
  EXPECT_EQ(uint64_t{found[1].data.u64}, 77u);
  EXPECT_EQ(guest->answer(SYS_epoll_wait, {0, kEvents, 1, kForEver}), 1);
  EXPECT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_DEL, 1, FakeDispatch::kUser}), 0);
  EXPECT_EQ(guest->answer(SYS_epoll_wait, {0, kEvents, 4, kForEver}), 1) << "it has been told of that one";
}

TEST_P(HiderTest, AnEpollWaitEndsWhenServicesRetire) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "the vCPU stands still, there is no middle";
  constexpr uint64_t kEvents = FakeDispatch::kUser + 500, kForEver = static_cast<uint64_t>(-1);
  const epoll_event event{EPOLLIN, {}};
  std::memcpy(guest->user.data(), &event, sizeof event);
  ASSERT_EQ(guest->answer(SYS_epoll_create1, {0}), 0);
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 1);
  ASSERT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
  stop_at_pause(3);
  ASSERT_EQ(guest->call(SYS_epoll_wait, {0, kEvents, 4, kForEver}), End::stuck);
  guest->may_go_on = nullptr;
  EXPECT_NE(guest->hider.retire(true), "");
  EXPECT_EQ(guest->first.go_on(Symbol::fn_syscall_user_dispatch), End::answered);
  EXPECT_EQ(guest->hider.retire(false), "");
}

TEST_P(HiderTest, AnEpollInstanceIsNotTakenForAClosedOneWithAllTheSameMemory) {
  constexpr uint64_t kEvents = FakeDispatch::kUser + 500;
  const epoll_event event{EPOLLOUT, {}};
  std::memcpy(guest->user.data(), &event, sizeof event);
  ASSERT_EQ(guest->answer(SYS_epoll_create1, {0}), 0);
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 1);
  ASSERT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
  guest->instead = [&](const engine::Detour& to) -> std::optional<uint64_t> {
    return to.rip == guest->guest.symbol(Symbol::call_sys_epoll_create1).value ? std::optional<uint64_t>(0)
                                                                               : std::nullopt;
  };
  ASSERT_EQ(guest->answer(SYS_epoll_create1, {0}), 0);
  EXPECT_EQ(guest->call(SYS_epoll_wait, {0, kEvents, 4, 0}), End::native) << "it watches nothing that is hidden";
}

TEST_P(HiderTest, AnEpollInstanceAtTheAddressOfAnotherIsItself) {
  constexpr uint64_t kEvents = FakeDispatch::kUser + 500;
  const epoll_event event{EPOLLOUT, {}};
  std::memcpy(guest->user.data(), &event, sizeof event);
  ASSERT_EQ(guest->answer(SYS_epoll_create1, {0}), 0);
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 1);
  ASSERT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
  EXPECT_EQ(guest->answer(SYS_epoll_wait, {0, kEvents, 4, 0}), 1);
  // The kernel closed it, and has given its memory to one that somebody else made.
  guest->guest.set(guest->file_of(0), guest::Field::file_private_data, guest->guest.allocate());
  EXPECT_EQ(guest->call(SYS_epoll_wait, {0, kEvents, 4, 0}), End::native);
  EXPECT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
  EXPECT_EQ(guest->answer(SYS_epoll_wait, {0, kEvents, 4, 0}), 1);
}

TEST_P(HiderTest, AnEpollInstanceIsInherited) {
  constexpr uint64_t kEvents = FakeDispatch::kUser + 500;
  const epoll_event event{EPOLLOUT, {}};
  std::memcpy(guest->user.data(), &event, sizeof event);
  for (int i = 0; i < 10; ++i) {  // the proxy has room for 8 handles
    ASSERT_EQ(guest->answer(SYS_epoll_create1, {0}), 0);
    ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 1);
    FakeThread child(*guest, guest->make_process(200 + i), 1);
    guest->guest.set_file(child.task, 0, guest->file_of(0));
    guest->forks(guest->first, child.task);
    ASSERT_EQ(child.answer(SYS_epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
    EXPECT_EQ(guest->answer(SYS_epoll_wait, {0, kEvents, 4, 0}), 1) << "what the child has told it to watch";
    ASSERT_EQ(guest->exits(), End::ran);
    EXPECT_EQ(child.answer(SYS_epoll_wait, {0, kEvents, 4, 0}), 1);
    ASSERT_EQ(child.exits(), End::ran);
    guest->close_all();
    ASSERT_EQ(guest->exec(), End::ran);
  }
}

// Not in turns of looking and sleeping: who waits is woken when an ordinary descriptor is ready.
TEST_P(HiderTest, AWaitForBothWorldsSleepsInTheKernelsOwnWait) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only that sleeps";
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  constexpr size_t kFar = 70;
  const pollfd polled[] = {{0, POLLIN, 0}, {kFar, POLLIN, 0}};
  std::memcpy(guest->user.data(), polled, sizeof polled);
  unsigned slept = 0, looked = 0;
  bool ready = false;
  guest->instead = [&](const engine::Detour& to) -> std::optional<uint64_t> {
    if (to.rip == guest->guest.symbol(Symbol::call_sys_poll).value) {
      ++looked;
      pollfd* all = reinterpret_cast<pollfd*>(guest->user.data());
      all[0].revents = POLLNVAL;  // as the kernel sees ours
      all[1].revents = ready ? POLLIN : 0;
      return 1 + ready;
    }
    if (to.rip != guest->guest.symbol(Symbol::call_do_select).value) return std::nullopt;
    EXPECT_EQ(to.arguments[0], kFar + 1);
    EXPECT_EQ(guest->guest.word(Gva(guest->guest.word(Gva(to.arguments[1])))), 0u) << "ours are not in the sets";
    EXPECT_EQ(guest->guest.word(Gva(guest->guest.word(Gva(to.arguments[1])) + 8)), uint64_t{1} << (kFar - 64));
    ready = ++slept == 3;
    if (!ready) usleep(static_cast<useconds_t>(guest->guest.word(Gva(to.arguments[2]) + 8) / 1000));
    return ready;
  };
  EXPECT_EQ(guest->answer(SYS_poll, {FakeDispatch::kUser, 2, 60000}), 1);
  EXPECT_EQ(slept, 3u);
  EXPECT_GE(looked, 3u);
  std::memcpy(guest->user.data(), polled, sizeof polled);
  slept = 10;
  ready = false;
  guest->sleep_result = -EINTR;
  EXPECT_EQ(guest->answer(SYS_poll, {FakeDispatch::kUser, 2, 60000}), kRestartNoHand);
}

TEST_P(HiderTest, ASignalEndsAWait) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only a sleep is told of signals";
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  guest->sleep_result = -EINTR;
  EXPECT_EQ(guest->answer(SYS_recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), kRestartSys);
  guest->sleep_result = 0;
  EXPECT_EQ(guest->answer(SYS_recvfrom, {0, FakeDispatch::kUser, 100, MSG_DONTWAIT, 0, 0}), -EAGAIN);
}

TEST_P(HiderTest, AWakeUpThatWasMeantForAnotherWaitIsNoSignal) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only a sleep is told of signals";
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  unsigned sleeps = 0;
  guest->instead = [&](const engine::Detour& to) -> std::optional<uint64_t> {
    if (to.rip != guest->guest.symbol(Symbol::call_schedule_hrtimeout).value) return std::nullopt;
    if (++sleeps == 4) guest->sleep_result = -EINTR;  // a true one, after that
    if (sleeps != 1) return std::nullopt;
    return static_cast<uint64_t>(-EINTR);
  };
  EXPECT_EQ(guest->answer(SYS_recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), kRestartSys);
  EXPECT_GE(sleeps, 4u);
}

// close_range(CLOSE_RANGE_UNSHARE) closes in a table of the thread's own: the others keep theirs.
TEST_P(HiderTest, WhatOneThreadClosesForItselfStaysOpenForTheOthers) {
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  ASSERT_EQ(open_file("/var/secret/b"), 1);
  FakeThread other(*guest, guest->make_thread(101), 1);
  guest->forks(guest->first, other.task);
  constexpr uint64_t kUnshare = 2;
  EXPECT_EQ(other.call(SYS_close_range, {1, 100, kUnshare}), End::native);
  // As the kernel does it: files that are just being opened are not copied.
  const Gva own = guest->make_process(102);
  guest->guest.set(other.task, guest::Field::task_files, guest->guest.get(own, guest::Field::task_files));
  EXPECT_EQ(other.call(SYS_write, {1, guest->put("x"), 1}), End::native) << "closed";
  EXPECT_EQ(other.answer(SYS_write, {0, guest->put("x"), 1}), 1);
  EXPECT_TRUE(guest->is_open(0, other.task));
  EXPECT_EQ(guest->answer(SYS_write, {1, guest->put("y"), 1}), 1);
  EXPECT_EQ(on_host("/var/secret/b"), "y");
}

TEST_P(HiderTest, ASocketThatIsWatchedAgainAndAgainIsRememberedOnce) {
  epoll_event event{EPOLLOUT, {}};
  std::memcpy(guest->user.data(), &event, sizeof event);
  ASSERT_EQ(guest->answer(SYS_epoll_create1, {0}), 0);
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 1);
  ASSERT_EQ(guest->answer(SYS_dup, {1}), 2);
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
    ASSERT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_DEL, 2, FakeDispatch::kUser}), 0);
  }
  ASSERT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_ADD, 2, FakeDispatch::kUser}), 0);
  const std::lock_guard lock(services[0]->epolls_mutex);
  ASSERT_EQ(services[0]->epolls.size(), 1u);
  EXPECT_EQ(services[0]->epolls.begin()->second.lock()->watched.size(), 1u);
}

TEST_P(HiderTest, WhoDiesInTheMiddleOfACallLeavesNothing) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "the vCPU stands still, there is no middle";
  // The proxy has room for 8; each of these would hold two.
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(open_file("/var/secret/a"), 0) << i;
    ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 1);
    stop_at_pause(5);
    ASSERT_EQ(guest->call(SYS_recvfrom, {1, FakeDispatch::kUser, 100, 0, 0, 0}), End::stuck);
    guest->may_go_on = nullptr;
    ASSERT_EQ(guest->exits(), End::ran);
    EXPECT_EQ(guest->pages, 0u) << "its buffer";
    guest->close_all();
    EXPECT_EQ(guest->call(SYS_getpid), End::ran) << "nobody of ours";
    ASSERT_EQ(guest->exec(), End::ran);
  }
}

// What the kernel's own poll says then is for its restart, which ours is not.
TEST_P(HiderTest, ASignalThatIsThereAtOnceEndsAPollOfBothWorldsAsAnyOther) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only a sleep is told of signals";
  const epoll_event event{EPOLLIN, {}};
  std::memcpy(guest->user.data(), &event, sizeof event);
  ASSERT_EQ(guest->answer(SYS_epoll_create1, {0}), 0);
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 1);
  ASSERT_EQ(guest->answer(SYS_epoll_ctl, {0, EPOLL_CTL_ADD, 1, FakeDispatch::kUser}), 0);
  constexpr uint64_t kTime = FakeDispatch::kUser + 400, kMask = FakeDispatch::kUser + 500;
  bool restored = false;
  guest->instead = [&](const engine::Detour& to) -> std::optional<uint64_t> {
    restored |= to.rip == guest->guest.symbol(Symbol::call_sys_epoll_pwait).value;
    constexpr int64_t kRestartBlocked = -516;  // ERESTART_RESTARTBLOCK
    if (to.rip == guest->guest.symbol(Symbol::call_sys_poll).value) return kRestartBlocked;
    return std::nullopt;
  };
  guest->sleep_result = -EINTR;
  const auto polls = [&](uint64_t number, uint64_t time) {
    const pollfd polled{static_cast<int>(number), POLLIN, 0};
    std::memcpy(guest->user.data(), &polled, sizeof polled);
    std::memset(guest->user.data() + 400, 0, 16);
    return guest->answer(SYS_ppoll, {FakeDispatch::kUser, 1, time, kMask, 8});
  };
  EXPECT_EQ(polls(0, 0), kRestartNoHand);
  EXPECT_EQ(polls(1, kTime), kRestartNoHand) << "with no time to wait, and the mask";
  EXPECT_FALSE(restored) << "the signal is to come through";
}

TEST_P(HiderTest, APollThatGoesOnAfterASignalEndsAtItsTime) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only a sleep is told of signals";
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  const pollfd polled{0, POLLIN, 0};
  std::memcpy(guest->user.data(), &polled, sizeof polled);
  constexpr uint64_t kMilliseconds = 20;
  guest->sleep_result = -EINTR;
  const auto polls = [&](uint64_t milliseconds) {
    return guest->answer(SYS_poll, {FakeDispatch::kUser, 1, milliseconds});
  };
  ASSERT_EQ(polls(kMilliseconds), kRestartNoHand);
  usleep(kMilliseconds * 1500);
  EXPECT_EQ(polls(kMilliseconds), 0) << "it is over";
  ASSERT_EQ(polls(kMilliseconds), kRestartNoHand) << "another call";
  usleep(kMilliseconds * 1500);
  EXPECT_EQ(polls(kMilliseconds + 1), kRestartNoHand) << "another one, too";
  usleep(kMilliseconds * 1500);
  EXPECT_EQ(guest->call(SYS_rt_sigreturn), End::native);
  EXPECT_EQ(polls(kMilliseconds + 1), kRestartNoHand) << "the program went on";
}

TEST_P(HiderTest, SelectTakesAndGivesAsManyNumbersAsTheTableHas) {
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  constexpr size_t kTable = fake::FakeGuest::kDescriptors / 8;
  std::fill_n(guest->user.begin(), 1024, std::byte{0xff});
  std::fill_n(guest->user.begin(), kTable, std::byte{0});
  guest->user[0] = std::byte{1};
  EXPECT_EQ(guest->answer(SYS_select, {4096, 0, FakeDispatch::kUser, 0, 0}), 1);
  EXPECT_EQ(guest->user[0], std::byte{1}) << "to be written to";
  for (size_t i = kTable; i < 1024; ++i) ASSERT_EQ(guest->user[i], std::byte{0xff}) << i;
}

TEST_P(HiderTest, WhoWaitsForALockEndsWhenServicesRetire) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "the vCPU stands still, there is no middle";
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  ASSERT_EQ(open_file("/var/secret/a"), 1);
  ASSERT_EQ(guest->answer(SYS_flock, {0, LOCK_EX}), 0);
  stop_at_pause(40);
  ASSERT_EQ(guest->call(SYS_flock, {1, LOCK_EX}), End::stuck);
  guest->may_go_on = nullptr;
  EXPECT_NE(guest->hider.retire(true), "");
  EXPECT_EQ(guest->first.go_on(Symbol::fn_syscall_user_dispatch), End::answered);
}

TEST_P(HiderTest, TheFirstSleepIsAsLongAsSuchACallIsExpectedToTake) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "only that sleeps";
  Expectation& expectation = services[0]->expectations[static_cast<size_t>(proxy::Op::access)];
  while (expectation.ns() < 500'000) expectation.was_not_there(2'000'000);
  const uint64_t expected = expectation.ns();
  std::vector<uint64_t> slept;
  guest->instead = [&](const engine::Detour& to) -> std::optional<uint64_t> {
    EXPECT_NE(to.rip, guest->guest.symbol(Symbol::call_yield).value);
    if (to.rip == guest->guest.symbol(Symbol::call_schedule_hrtimeout).value)
      slept.push_back(guest->guest.word(Gva(to.arguments[0])));
    return std::nullopt;
  };
  const uint64_t path = guest->put("/var/secret");
  ASSERT_EQ(guest->answer(SYS_access, {path, 0}), 0);
  ASSERT_FALSE(slept.empty());
  EXPECT_EQ(slept[0], expected);
  EXPECT_NE(expectation.ns(), expected) << "nothing was learned";
}

TEST_P(HiderTest, WhereOthersWantTheCpuABriefWaitKeepsIt) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "the others always do the same";
  unsigned pauses = 0;
  bool slow = true;
  guest->instead = [&](const engine::Detour& to) -> std::optional<uint64_t> {
    const bool yields = to.rip == guest->guest.symbol(Symbol::call_yield).value;
    pauses += yields || to.rip == guest->guest.symbol(Symbol::call_schedule_hrtimeout).value;
    if (yields && std::exchange(slow, false)) usleep(200'000);  // somebody else has run
    return std::nullopt;
  };
  const uint64_t path = guest->put("/var/secret");
  while (slow) ASSERT_EQ(guest->answer(SYS_access, {path, 0}), 0);
  Expectation& expectation = services[0]->expectations[static_cast<size_t>(proxy::Op::access)];
  unsigned kept = 0;
  for (int i = 0; i < 50; ++i) {
    // As if all had been brief: a busy host has its own ideas.
    while (expectation.ns() > 1'000) expectation.was_not_there(0);
    pauses = 0;
    ASSERT_EQ(guest->answer(SYS_access, {path, 0}), 0);
    kept += pauses == 0;
  }
  EXPECT_GT(kept, 25u);
}

TEST_P(HiderTest, WithoutItsProxyCallsFail) {
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  kill_proxy();
  EXPECT_EQ(guest->answer(SYS_write, {0, guest->put("x"), 1}), -EIO);
  EXPECT_EQ(open_file("/var/secret/b"), -EIO);
  EXPECT_EQ(guest->answer(SYS_close, {0}), 0);
  EXPECT_FALSE(guest->is_open(0));
}

TEST_P(HiderTest, ADetourOfAnotherStackIsAnotherCall) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "there is no wait to come in between";
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  stop_at_pause(3);
  ASSERT_EQ(guest->call(SYS_recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), End::stuck);
  guest->may_go_on = nullptr;
  // A hostile kernel begins another call for the same thread: the one before is dropped.
  EXPECT_EQ(open_file("/var/secret/a"), 1);
}

TEST_P(HiderTest, AfterRetiringNobodyIsHidden) {
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  EXPECT_EQ(guest->hider.retire(false), "");
  EXPECT_FALSE(guest->is_marked());
  EXPECT_EQ(guest->call(SYS_write, {0, guest->put("x"), 1}), End::native);
  const Gva child = guest->make_process(200);
  guest->forks(guest->first, child);
  EXPECT_FALSE(FakeThread(*guest, child, 1).is_marked());
}

// A vCPU that was past the look at whether services are hidden still marks a thread when all have lost their marks.
TEST_P(HiderTest, RetiringAgainFindsWhatWasMarkedMeanwhile) {
  const guest::Profile& p = guest->guest.profile;
  const Gva work = guest->leader + p[guest::Field::thread_info_syscall_work];
  ASSERT_EQ(guest->hider.retire(false), "");
  guest->guest.write(work, guest->guest.word(work) | uint64_t{1} << (p[guest::Field::syscall_user_dispatch_bit] & 63));
  ASSERT_TRUE(guest->is_marked());
  EXPECT_EQ(guest->hider.retire(false), "");
  EXPECT_FALSE(guest->is_marked());
}

TEST_P(HiderTest, WhoHasTimeToRetireGivesBackItsMemory) {
  guest->user_in_ram = false;  // for which it needs some
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  ASSERT_EQ(guest->pages, 1u);
  EXPECT_NE(guest->hider.retire(true).find("process 100 (hidden service service)"), std::string::npos);
  EXPECT_TRUE(guest->is_marked()) << "so that it comes by once more";
  EXPECT_EQ(guest->call(SYS_write, {0, guest->put("x"), 1}), End::native);
  EXPECT_EQ(guest->pages, 0u);
  EXPECT_FALSE(guest->is_marked());
  EXPECT_EQ(guest->hider.retire(true), "");
  EXPECT_EQ(guest->call(SYS_getpid), End::ran) << "nobody of ours";
}

TEST_P(HiderTest, ACallThatEndsWhenServicesRetireLeavesTheNextOneToGiveBackMemory) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "the vCPU stands still, there is no middle";
  guest->user_in_ram = false;
  ASSERT_EQ(guest->answer(SYS_socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  ASSERT_EQ(open_file("/var/secret/a"), 1) << "it has memory from here on";
  guest->may_go_on = [&, pauses = 0](const engine::Detour& to) mutable {
    const bool pause = to.rip == guest->guest.symbol(Symbol::call_yield).value ||
                       to.rip == guest->guest.symbol(Symbol::call_schedule_hrtimeout).value;
    return !pause || ++pauses != 3 || !guest->hider.retire(true).empty();
  };
  EXPECT_EQ(guest->answer(SYS_recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), -EIO);
  guest->may_go_on = nullptr;
  EXPECT_EQ(guest->call(SYS_getpid), End::native);
  EXPECT_EQ(guest->pages, 0u);
  EXPECT_FALSE(guest->is_marked());
}

// Its mark may be seen before the hook goes, and acted upon after: then the function itself runs.
TEST_P(HiderTest, WhoIsMarkedDoesNotDependOnTheHook) {
  EXPECT_EQ(guest->guest.get(guest->leader, guest::Field::task_dispatch_length), UINT64_MAX);
  EXPECT_EQ(guest->hider.retire(false), "");
  EXPECT_EQ(guest->guest.get(guest->leader, guest::Field::task_dispatch_length), UINT64_MAX);
}

// What a program hands over is nearly always in RAM: then nothing of the guest's kernel is called for it.
TEST_P(HiderTest, ArgumentsInRamAreReadWithoutTheKernel) {
  unsigned copies = 0;
  guest->instead = [&](const engine::Detour& to) -> std::optional<uint64_t> {
    copies += to.rip == guest->guest.symbol(Symbol::call_copy_from_user).value ||
              to.rip == guest->guest.symbol(Symbol::call_strncpy_from_user).value;
    return std::nullopt;
  };
  for (const bool in_ram : {true, false}) {
    guest->user_in_ram = in_ram;
    ASSERT_EQ(open_file("/var/secret/a"), 0);
    EXPECT_EQ(guest->answer(SYS_write, {0, guest->put("hello"), 5}), 5);
    ASSERT_EQ(guest->answer(SYS_close, {0}), 0);
    EXPECT_EQ(on_host("/var/secret/a"), "hello");
    EXPECT_EQ(copies > 0, !in_ram);
  }
  // The kernel says what is wrong with an address.
  EXPECT_EQ(guest->answer(SYS_openat, {kCwd, fake::kDirectMap.value, O_RDONLY, 0}), -EFAULT);
}

INSTANTIATE_TEST_SUITE_P(Waits, HiderTest, testing::Values(Wait::park, Wait::yield, Wait::block), wait_name);

}  // namespace
}  // namespace oboro::hiding
