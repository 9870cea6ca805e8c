// Hidden calls where the guest's kernel, the program or the proxy is hostile. Nothing may crash, end the tracer, be
// lost or be kept for ever. Everybody else goes on.
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

using fake::FakeThread;

class HostileTest : public HiderTest {
 protected:
  bool is(const engine::Call& to, Symbol function) const { return to.function == guest->guest.symbol(function); }
  // This function of the kernel does nothing, and returns this value.
  void returns(Symbol function, uint64_t value) {
    guest->instead = [=, this](const engine::Call& to) {
      return is(to, function) ? std::optional(value) : std::nullopt;
    };
  }
  // A little of everything that a service does. No thread may stay in its call.
  void use_everything() {
    const uint64_t at = FakeDispatch::kUser;
    const uint64_t path = guest->put("/var/secret/a", 4000);
    pollfd polled[2] = {{0, POLLIN, 0}, {40, POLLIN, 0}};
    std::memcpy(guest->user.data() + 5000, polled, sizeof polled);
    const auto call = [&](uint64_t number, std::array<uint64_t, 6> a) {
      EXPECT_NE(guest->call(number, a), End::stuck) << number;
    };
    call(sys::openat, {kCwd, path, O_RDWR | O_CREAT, 0600});
    call(sys::socket, {AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0});
    for (uint64_t fd = 0; fd < 2; ++fd) {
      call(sys::write, {fd, at, 100});
      call(sys::pread64, {fd, at, 100, 0});
      call(sys::readv, {fd, at, 3});
      call(sys::recvfrom, {fd, at, 100, MSG_DONTWAIT, at + 200, at + 300});
      call(sys::sendfile, {fd, 1 - fd, 0, 100});
      call(sys::fstat, {fd, at});
      call(sys::dup2, {fd, 20 + fd});
      call(sys::fcntl, {fd, F_DUPFD, 30});
    }
    call(sys::poll, {at + 5000, 2, 0});
    const timeval soon{0, 3000};
    std::memcpy(guest->user.data() + 6000, &soon, sizeof soon);
    call(sys::select, {50, at, at + 100, 0, at + 6000});
    call(sys::epoll_create1, {0});
    call(sys::epoll_create1, {0});
    for (uint64_t fd = 0; fd < 5; ++fd)
      for (uint64_t watched = 0; watched < 5; ++watched) call(sys::epoll_ctl, {fd, EPOLL_CTL_ADD, watched, at});
    for (uint64_t fd = 0; fd < 5; ++fd) call(sys::epoll_wait, {fd, at, 4, 0});
    call(sys::chdir, {path});
    call(sys::getcwd, {at, 100});
    call(sys::close_range, {0, 60, 0});
  }
  void dies_and_starts_again() {
    guest->instead = nullptr;
    guest->may_go_on = nullptr;
    ASSERT_EQ(guest->exits(), End::ran);
    guest->close_all();
    ASSERT_EQ(guest->exec(), End::ran);
  }
};

TEST_P(HostileTest, FunctionsThatReturnGarbage) {
  if (GetParam() != Wait::park) GTEST_SKIP() << "the same";
  guest->user_in_ram = false;
  constexpr Symbol kFunctions[] = {Symbol::call_get_free_pages,
                                   Symbol::call_free_pages,
                                   Symbol::call_copy_from_user,
                                   Symbol::call_copy_to_user,
                                   Symbol::call_strncpy_from_user,
                                   Symbol::call_get_unused_fd_flags,
                                   Symbol::call_put_unused_fd,
                                   Symbol::call_alloc_fd,
                                   Symbol::call_close_fd,
                                   Symbol::call_do_select,
                                   Symbol::call_ktime_get,
                                   Symbol::call_sys_chdir,
                                   Symbol::call_sys_poll,
                                   Symbol::call_sys_epoll_create1,
                                   Symbol::call_sys_epoll_ctl,
                                   Symbol::call_sys_epoll_wait,
                                   Symbol::call_fget,
                                   Symbol::call_fput,
                                   Symbol::call_kernel_read,
                                   Symbol::call_kernel_write,
                                   Symbol::call_yield};
  const uint64_t kValues[] = {0,
                              1,
                              4095,
                              uint64_t{1} << 31,
                              uint64_t{1} << 40,
                              uint64_t{1} << 63,
                              ~uint64_t{0},
                              static_cast<uint64_t>(-EFAULT),
                              FakeDispatch::kUser,
                              fake::kDirectMap.value,
                              fake::kImageBase.value,
                              fake::kDirectMap.value + (uint64_t{20} << 20) - 8};
  for (const Symbol function : kFunctions)
    for (const uint64_t value : kValues) {
      SCOPED_TRACE(testing::Message() << guest::name(function) << " " << value);
      returns(function, value);
      use_everything();
      dies_and_starts_again();
      // What the proxy held for this thread is free again: the proxy has room for 8.
      ASSERT_EQ(open_file("/var/secret/a"), 0);
      ASSERT_EQ(guest->answer(sys::close, {0}), 0);
    }
  EXPECT_EQ(calls_left(), 0u);
}

TEST_P(HostileTest, WhatCopiesSayIsTakenForWhatItCanBe) {
  guest->user_in_ram = false;
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  returns(Symbol::call_strncpy_from_user, uint64_t{1} << 40);
  EXPECT_EQ(open_file("/var/secret/a"), -ENAMETOOLONG);
  returns(Symbol::call_copy_from_user, 1000);  // more than was asked for
  EXPECT_EQ(guest->answer(sys::write, {0, FakeDispatch::kUser, 100}), -EFAULT);
  returns(Symbol::call_copy_to_user, ~uint64_t{0});
  EXPECT_EQ(guest->answer(sys::fstat, {0, FakeDispatch::kUser}), -EFAULT);
  // There is no number, so nothing stays open in the proxy.
  returns(Symbol::call_get_unused_fd_flags, static_cast<uint64_t>(-EMFILE));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(open_file("/var/secret/b"), -EMFILE);
  guest->instead = nullptr;
  EXPECT_EQ(open_file("/var/secret/b"), 1);
}

TEST_P(HostileTest, ABufferThatIsNone) {
  guest->user_in_ram = false;
  dies_and_starts_again();  // it has no buffer yet
  for (const uint64_t nowhere : {uint64_t{0}, FakeDispatch::kUser, fake::kImageBase.value, ~uint64_t{0xfff}}) {
    returns(Symbol::call_get_free_pages, nowhere);
    EXPECT_EQ(open_file("/var/secret/a"), -ENOMEM);
  }
  guest->instead = nullptr;
  EXPECT_EQ(open_file("/var/secret/a"), 0);
}

TEST_P(HostileTest, ADetourThatNeverComesBack) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "there is no wait to stay in";
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  stop_at_pause(3);
  ASSERT_EQ(guest->call(sys::recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), End::stuck);
  guest->may_go_on = nullptr;
  EXPECT_NE(guest->hider.retire(false), "") << "it might come back still, to a hook that must be there";
  ASSERT_EQ(guest->exits(), End::ran);
  EXPECT_EQ(guest->hider.retire(false), "");
}

TEST_P(HostileTest, WhoDiesInAPollLeavesNothingAtTheProxy) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "the vCPU stands still, there is no middle";
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
    const pollfd polled{0, POLLIN, 0};
    std::memcpy(guest->user.data(), &polled, sizeof polled);
    stop_at_pause(5);
    ASSERT_EQ(guest->call(sys::poll, {FakeDispatch::kUser, 1, static_cast<uint64_t>(-1)}), End::stuck);
    dies_and_starts_again();
  }
  EXPECT_EQ(calls_left(), 0u);
}

TEST_P(HostileTest, ADetourThatComesBackForAnotherThread) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "there is no wait to come in between";
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  FakeThread other(*guest, guest->make_thread(101), 1);
  guest->forks(guest->first, other.task);
  ASSERT_TRUE(other.is_marked());
  stop_at_pause(3);
  ASSERT_EQ(guest->call(sys::recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), End::stuck);
  guest->may_go_on = nullptr;
  // The second thread has the stack of the first, and the registers that the first would find.
  guest->guest.run(other.vcpu, other.task);
  arch::use_frame(other.vcpu, arch::call_frame(guest->first.vcpu));
  arch::set_result(other.vcpu, arch::result(guest->first.vcpu));
  arch::set_argument(other.vcpu, 0, arch::argument(guest->first.vcpu, 0));
  EXPECT_NE(other.go_on(Symbol::fn_syscall_user_dispatch), End::answered) << "a call from a stack that is no caller's";
  // The same in a process that belongs to no service.
  FakeThread stranger(*guest, guest->make_process(200), 2);
  guest->guest.run(stranger.vcpu, stranger.task);
  arch::use_frame(stranger.vcpu, arch::call_frame(guest->first.vcpu));
  EXPECT_EQ(stranger.go_on(Symbol::fn_syscall_user_dispatch), End::ran);
  // The call of the first thread is as it was.
  guest->sleep_result = -EINTR;
  EXPECT_EQ(guest->first.go_on(Symbol::fn_syscall_user_dispatch), End::answered);
}

TEST_P(HostileTest, OneThreadOnTwoCpus) {
  FakeThread again(*guest, guest->leader, 1);
  unsigned entered = 0;
  guest->reporter.on_report = [&] {  // in the middle of a hook of the same thread
    if (entered++ > 0) return;
    EXPECT_EQ(again.call(sys::getpid), End::ran);
  };
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  EXPECT_GT(entered, 0u);
  ASSERT_FALSE(guest->reporter.reasons.empty());
  EXPECT_NE(guest->reporter.reasons[0].find("two CPUs"), std::string::npos);
}

// What an operation may read is bounded. Where a call returns to is not among that.
TEST_P(HostileTest, ACallReturnsToItsCallerThoughNothingMoreMayBeRead) {
  unsigned exhausted = 0;
  guest->reporter.on_report = [&] {
    guest::Reader& r = guest->first.operation->r;
    while (!r.failed()) (void)r.at<uint64_t>(guest->first.task);
    ++exhausted;
  };
  const unsigned before = guest->first.returns_to_caller;
  EXPECT_EQ(guest->answer(sys::mkdir, {guest->put("/var/secret/d"), 0700}), 0);
  EXPECT_EQ(exhausted, 1u) << "in the middle of that call";
  EXPECT_EQ(guest->first.returns_to_caller, before + 1);
}

// For the sanitizers, too.
TEST_P(HostileTest, ThreadsThatChangeWhatTheyShare) {
  const uint64_t long_path = guest->put("/var/secret/a-directory-with-a-name-that-is-long", 0);
  const uint64_t short_path = guest->put("/var/secret", 200);
  ASSERT_EQ(guest->answer(sys::mkdir, {long_path, 0700}), 0);
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET6, SOCK_DGRAM, 0}), 0);
  FakeThread other(*guest, guest->make_thread(101), 1);
  guest->forks(guest->first, other.task);
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(9);
  ASSERT_EQ(inet_pton(AF_INET6, "2001:db8:1111:2222:3333:4444:5555:6666", &to.sin6_addr), 1);
  std::memcpy(guest->user.data() + 300, &to, sizeof to);
  const auto run = [&](FakeThread& thread, uint64_t area) {
    for (int i = 0; i < 150; ++i) {
      (void)thread.call(sys::chdir, {i % 2 ? long_path : short_path});
      EXPECT_GT(thread.answer(sys::getcwd, {area, 1000}), 0);
      (void)thread.call(sys::connect, {0, FakeDispatch::kUser + 300, sizeof to});
    }
  };
  std::thread second([&] { run(other, FakeDispatch::kUser + 8192); });
  run(guest->first, FakeDispatch::kUser + 4096);
  second.join();
  EXPECT_TRUE(guest->text(4096, 11) == "/var/secret" && guest->text(8192, 11) == "/var/secret");
}

INSTANTIATE_TEST_SUITE_P(Waits, HostileTest, testing::Values(Wait::park, Wait::yield, Wait::block), wait_name);

}  // namespace
}  // namespace oboro::hiding
