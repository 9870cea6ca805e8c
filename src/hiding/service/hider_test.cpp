// Hidden calls from the hook to a real proxy server and back, in a fake guest.
#include "hiding/service/hider_test.h"

#include <cerrno>
#include <netinet/in.h>
#include <sys/stat.h>

namespace oboro::hiding {
namespace {

using fake::FakeThread;

TEST_P(HiderTest, OpensWritesReadsAndCloses) {
  EXPECT_EQ(open_file("/var/secret/a"), 0) << "the lowest number that is free";
  EXPECT_EQ(open_file("/var/secret/b"), 1);
  EXPECT_TRUE(guest->is_open(0) && guest->is_open(1));
  EXPECT_EQ(guest->answer(sys::write, {0, guest->put("hidden"), 6}), 6);
  EXPECT_EQ(on_host("/var/secret/a"), "hidden");
  EXPECT_EQ(guest->answer(sys::pread64, {0, FakeDispatch::kUser + 500, 100, 2}), 4);
  EXPECT_EQ(guest->text(500, 4), "dden");
  EXPECT_EQ(guest->answer(sys::close, {0}), 0);
  EXPECT_FALSE(guest->is_open(0));
  EXPECT_TRUE(guest->is_open(1));
  EXPECT_EQ(guest->call(sys::write, {0, guest->put("x"), 1}), End::native) << "nobody's number again";
  EXPECT_EQ(open_file("/var/secret/c"), 0);
}

TEST_P(HiderTest, ManyBytesGoInPieces) {
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  for (size_t i = 0; i < 300000; ++i) guest->user[i + 1000] = static_cast<std::byte>(i % 251);
  EXPECT_EQ(guest->answer(sys::write, {0, FakeDispatch::kUser + 1000, 300000}), 300000);
  EXPECT_EQ(guest->answer(sys::pread64, {0, FakeDispatch::kUser + 400000, 300000, 0}), 300000);
  EXPECT_EQ(guest->text(1000, 300000), guest->text(400000, 300000));
}

TEST_P(HiderTest, WhatIsNotHiddenIsTheKernels) {
  EXPECT_EQ(guest->call(sys::openat, {kCwd, guest->put("/tmp/x"), O_RDWR, 0}), End::native);
  EXPECT_EQ(guest->call(sys::openat, {kCwd, guest->put("/var/secretary"), O_RDWR, 0}), End::native);
  EXPECT_EQ(guest->call(sys::getpid), End::native);
  EXPECT_EQ(guest->first.returns_to_caller, 3u);
  EXPECT_FALSE(std::filesystem::exists(root + "/tmp"));
}

TEST_P(HiderTest, PointersThatLeadNowhereAreFaults) {
  EXPECT_EQ(guest->answer(sys::openat, {kCwd, 0x1000, O_RDWR, 0}), -EFAULT);
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  EXPECT_EQ(guest->answer(sys::write, {0, 0x1000, 10}), -EFAULT);
  EXPECT_EQ(guest->answer(sys::write, {0, guest->put("abc"), 3}), 3);
  EXPECT_EQ(guest->answer(sys::pread64, {0, 0x1000, 3, 0}), -EFAULT);
  EXPECT_EQ(guest->answer(sys::fstat, {0, 0x1000}), -EFAULT);
}

TEST_P(HiderTest, AnswersWhatTheProxySaysIsWrong) {
  EXPECT_EQ(open_file("/var/secret/none", O_RDONLY), -ENOENT);
  EXPECT_FALSE(guest->is_open(0));
  EXPECT_EQ(open_file("/var/secret/none/a"), -ENOENT);
  EXPECT_EQ(guest->answer(sys::mkdir, {guest->put("/var/secret/d"), 0700}), 0);
  EXPECT_EQ(guest->answer(sys::mkdir, {guest->put("/var/secret/d"), 0700}), -EEXIST);
}

TEST_P(HiderTest, PathsDoNotLeaveTheRoot) {
  std::ofstream(root + ".outside") << "canary";
  EXPECT_EQ(guest->answer(sys::symlink, {guest->put("../../../.."), guest->put("/var/secret/l", 200)}), 0);
  EXPECT_LT(open_file("/var/secret/l" + root + ".outside", O_RDONLY), 0);
  std::filesystem::remove(root + ".outside");
}

// close_range(CLOSE_RANGE_UNSHARE) closes numbers in a table of the thread's own. The other threads keep theirs.
TEST_P(HiderTest, WhatOneThreadClosesForItselfStaysOpenForTheOthers) {
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  ASSERT_EQ(open_file("/var/secret/b"), 1);
  FakeThread other(*guest, guest->make_thread(101), 1);
  guest->forks(guest->first, other.task);
  constexpr uint64_t kUnshare = 2;
  EXPECT_EQ(other.call(sys::close_range, {1, 100, kUnshare}), End::native);
  // As the kernel does it: files that are just being opened are not copied.
  const Gva own = guest->make_process(102);
  guest->guest.set(other.task, guest::Field::task_files, guest->guest.get(own, guest::Field::task_files));
  EXPECT_EQ(other.call(sys::write, {1, guest->put("x"), 1}), End::native) << "closed";
  EXPECT_EQ(other.answer(sys::write, {0, guest->put("x"), 1}), 1);
  EXPECT_TRUE(guest->is_open(0, other.task));
  EXPECT_EQ(guest->answer(sys::write, {1, guest->put("y"), 1}), 1);
  EXPECT_EQ(on_host("/var/secret/b"), "y");
}

TEST_P(HiderTest, WhoDiesInTheMiddleOfACallLeavesNothing) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "the vCPU stands still, there is no middle";
  // The proxy has room for 8; each of these would hold two.
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(open_file("/var/secret/a"), 0) << i;
    ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 1);
    stop_at_pause(5);
    ASSERT_EQ(guest->call(sys::recvfrom, {1, FakeDispatch::kUser, 100, 0, 0, 0}), End::stuck);
    guest->may_go_on = nullptr;
    ASSERT_EQ(guest->exits(), End::ran);
    EXPECT_EQ(guest->pages, 0u) << "its buffer";
    guest->close_all();
    EXPECT_EQ(guest->call(sys::getpid), End::ran) << "nobody of ours";
    ASSERT_EQ(guest->exec(), End::ran);
  }
}

TEST_P(HiderTest, WithoutItsProxyCallsFail) {
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  kill_proxy();
  EXPECT_EQ(guest->answer(sys::write, {0, guest->put("x"), 1}), -EIO);
  EXPECT_EQ(open_file("/var/secret/b"), -EIO);
  EXPECT_EQ(guest->answer(sys::close, {0}), 0);
  EXPECT_FALSE(guest->is_open(0));
}

TEST_P(HiderTest, ADetourOfAnotherStackIsAnotherCall) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "there is no wait to come in between";
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  stop_at_pause(3);
  ASSERT_EQ(guest->call(sys::recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), End::stuck);
  guest->may_go_on = nullptr;
  // A hostile kernel begins another call for the same thread: the one before is dropped.
  EXPECT_EQ(open_file("/var/secret/a"), 1);
}

TEST_P(HiderTest, AfterRetiringNobodyIsHidden) {
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  EXPECT_EQ(guest->hider.retire(false), "");
  EXPECT_FALSE(guest->is_marked());
  EXPECT_EQ(guest->call(sys::write, {0, guest->put("x"), 1}), End::native);
  const Gva child = guest->make_process(200);
  guest->forks(guest->first, child);
  EXPECT_FALSE(FakeThread(*guest, child, 1).is_marked());
}

// A vCPU that was past the look at whether services are hidden still marks a thread after all threads have lost their
// marks.
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
  EXPECT_EQ(guest->call(sys::write, {0, guest->put("x"), 1}), End::native);
  EXPECT_EQ(guest->pages, 0u);
  EXPECT_FALSE(guest->is_marked());
  EXPECT_EQ(guest->hider.retire(true), "");
  EXPECT_EQ(guest->call(sys::getpid), End::ran) << "nobody of ours";
}

TEST_P(HiderTest, ACallThatEndsWhenServicesRetireLeavesTheNextOneToGiveBackMemory) {
  if (GetParam() == Wait::block) GTEST_SKIP() << "the vCPU stands still, there is no middle";
  guest->user_in_ram = false;
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  ASSERT_EQ(open_file("/var/secret/a"), 1) << "it has memory from here on";
  guest->may_go_on = [&, pauses = 0](const engine::Call& to) mutable {
    const bool pause = to.function == guest->guest.symbol(Symbol::call_yield) ||
                       to.function == guest->guest.symbol(Symbol::call_schedule_hrtimeout);
    return !pause || ++pauses != 3 || !guest->hider.retire(true).empty();
  };
  EXPECT_EQ(guest->answer(sys::recvfrom, {0, FakeDispatch::kUser, 100, 0, 0, 0}), -EIO);
  guest->may_go_on = nullptr;
  EXPECT_EQ(guest->call(sys::getpid), End::native);
  EXPECT_EQ(guest->pages, 0u);
  EXPECT_FALSE(guest->is_marked());
}

// The task may see its mark before the hook goes, and act upon it after. Then the function itself runs.
TEST_P(HiderTest, WhoIsMarkedDoesNotDependOnTheHook) {
  EXPECT_EQ(guest->guest.get(guest->leader, guest::Field::task_dispatch_length), UINT64_MAX);
  EXPECT_EQ(guest->hider.retire(false), "");
  EXPECT_EQ(guest->guest.get(guest->leader, guest::Field::task_dispatch_length), UINT64_MAX);
}

// The memory that a program hands over is nearly always in RAM. Then no function of the guest's kernel is called for
// it.
TEST_P(HiderTest, ArgumentsInRamAreReadWithoutTheKernel) {
  unsigned copies = 0;
  guest->instead = [&](const engine::Call& to) -> std::optional<uint64_t> {
    copies += to.function == guest->guest.symbol(Symbol::call_copy_from_user) ||
              to.function == guest->guest.symbol(Symbol::call_strncpy_from_user);
    return std::nullopt;
  };
  for (const bool in_ram : {true, false}) {
    guest->user_in_ram = in_ram;
    ASSERT_EQ(open_file("/var/secret/a"), 0);
    EXPECT_EQ(guest->answer(sys::write, {0, guest->put("hello"), 5}), 5);
    ASSERT_EQ(guest->answer(sys::close, {0}), 0);
    EXPECT_EQ(on_host("/var/secret/a"), "hello");
    EXPECT_EQ(copies > 0, !in_ram);
  }
  // The kernel says what is wrong with an address.
  EXPECT_EQ(guest->answer(sys::openat, {kCwd, fake::kDirectMap.value, O_RDONLY, 0}), -EFAULT);
}

INSTANTIATE_TEST_SUITE_P(Waits, HiderTest, testing::Values(Wait::park, Wait::yield, Wait::block), wait_name);

}  // namespace
}  // namespace oboro::hiding
