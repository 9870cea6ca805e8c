#include "supervisor/launch/walls.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/landlock.h"
#include "tests/support/store/testing.h"

namespace oboro::supervisor {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// A process that waits until it is ended, here by us.
class Waiting {
 public:
  explicit Waiting(const std::function<void()>& first = [] {}) : pid_(fork()) {
    if (pid_ != 0) return;
    first();
    for (;;) pause();
  }
  ~Waiting() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

// What a process behind walls gets: 0, or errno.
int behind(const Walls& walls, const std::function<int()>& attempt) {
  const pid_t child = fork();
  if (child == 0) {
    if (walls.enter() != 0) _exit(255);
    _exit(attempt());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Walls, KeepFromTheMemoryOfProcessesOutside) {
  if (landlock::version() < 1) GTEST_SKIP() << "this host: no Landlock";
  const Walls walls = Walls::raise();
  EXPECT_THAT(walls.landlock(), HasSubstr("ptrace"));
  const Waiting victim;
  EXPECT_EQ(behind(walls, [&] { return ptrace(PTRACE_ATTACH, victim.pid(), nullptr, nullptr) == 0 ? 0 : errno; }),
            EPERM);
  const std::string memory = fmt::format("/proc/{}/mem", victim.pid());
  EXPECT_EQ(behind(walls, [&] { return open(memory.c_str(), O_RDWR | O_CLOEXEC) >= 0 ? 0 : errno; }), EACCES);
}

TEST(Walls, KeepSignalsFromProcessesOutside) {
  if (landlock::version() < 6) GTEST_SKIP() << "this host: its Landlock knows no signals (Linux 6.12 does)";
  const Walls walls = Walls::raise();
  EXPECT_EQ(walls.landlock(), "ptrace, signals");
  const Waiting victim;
  EXPECT_EQ(behind(walls, [&] { return kill(victim.pid(), SIGCONT) == 0 ? 0 : errno; }), EPERM);
  EXPECT_EQ(behind(walls, [&] { return kill(getpid(), SIGCONT) == 0 ? 0 : errno; }), 0) << "itself";
}

store::Status run_of(pid_t qemu, const std::string& landlock) {
  store::Status status;
  status.engine = "kvm";
  status.qemu_pid = static_cast<uint64_t>(qemu);
  status.landlock = landlock;
  return status;
}

TEST(Walls, AreSeenFromOutside) {
  const store::testing::TempDirectory directory;
  std::array<int, 2> ready{};
  ASSERT_EQ(pipe(ready.data()), 0);
  const Walls walls = Walls::raise();
  const Waiting free, walled([&] {
    const char result = walls.enter() == 0 ? 'y' : 'n';
    (void)!write(ready[1], &result, 1);
  });
  char entered = 0;
  ASSERT_EQ(read(ready[0], &entered, 1), 1);
  EXPECT_EQ(entered, 'y');
  close(ready[0]);
  close(ready[1]);

  const Standing with = look_at_walls(run_of(walled.pid(), walls.landlock()), directory.path());
  EXPECT_THAT(with.walls, Contains("no new privileges"));
  EXPECT_THAT(with.gaps, Contains("no filter of system calls (-sandbox)"));
  EXPECT_THAT(with.gaps, Contains(HasSubstr("past its tracer")));
  const Standing without = look_at_walls(run_of(free.pid(), ""), directory.path());
  EXPECT_THAT(without.walls, Not(Contains("no new privileges")));
  EXPECT_THAT(without.gaps, Contains("programs that it starts may get privileges (set-user-ID)"));
  EXPECT_THAT(without.gaps,
              Contains(geteuid() == 0 ? HasSubstr("it is root") : HasSubstr("whose the state directory")));
  EXPECT_THAT(look_at_walls(run_of(0, walls.landlock()), directory.path()).walls, IsEmpty());
}

TEST(QemuUser, IsNobodyElses) {
  const store::testing::TempDirectory directory;
  const std::string locks = directory.path() + "/locks";
  const auto take = [&] { return QemuUser::take(directory.path(), locks); };
  if (geteuid() != 0) {
    ASSERT_FALSE(take());
    EXPECT_EQ(take().error().code, Errc::unsupported);
    GTEST_SKIP() << "this host: only root gives users away";
  }
  uid_t first = 0;
  {
    const Result<QemuUser> one = take();
    if (!one && one.error().code == Errc::unsupported) GTEST_SKIP() << "this host: " << one.error().message;
    ASSERT_TRUE(one) << one.error().message;
    const Result<QemuUser> other = take();
    ASSERT_TRUE(other) << other.error().message;
    first = one->id();
    EXPECT_GE(first, QemuUser::kFirst);
    EXPECT_LT(first, QemuUser::kFirst + QemuUser::kCount);
    EXPECT_NE(other->id(), first);
    EXPECT_THAT(one->arguments("11.1.3"), testing::ElementsAre("-run-with", fmt::format("user={0}:{0}", first)));
    EXPECT_THAT(one->arguments("9.1.0"), testing::ElementsAre("-run-with", fmt::format("user={0}:{0}", first)));
    EXPECT_THAT(one->arguments("7.2.19"), testing::ElementsAre("-runas", fmt::format("{0}:{0}", first)));
  }
  const Result<QemuUser> again = take();
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->id(), first);
  EXPECT_FALSE(QemuUser::take(directory.path(), directory.path()));  // locks that cannot be had
}

}  // namespace
}  // namespace oboro::supervisor
