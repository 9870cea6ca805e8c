#include "store/state_dir.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "store/files.h"
#include "store/status.h"
#include "tests/support/store/testing.h"

namespace oboro::store {
namespace {

using testing::TempDirectory;

TEST(StateDirectory, Default) {
  ::unsetenv("OBORO_STATE");
  ::unsetenv("XDG_STATE_HOME");
  ::setenv("HOME", "/home/eve", 1);
  EXPECT_EQ(*default_state_directory(), "/home/eve/.local/state/oboro/default");
  ::setenv("XDG_STATE_HOME", "relative", 1);
  EXPECT_EQ(*default_state_directory(), "/home/eve/.local/state/oboro/default");
  ::setenv("XDG_STATE_HOME", "/state", 1);
  EXPECT_EQ(*default_state_directory(), "/state/oboro/default");
  ::setenv("OBORO_STATE", "/mine", 1);
  EXPECT_EQ(*default_state_directory(), "/mine");
  for (const char* name : {"OBORO_STATE", "XDG_STATE_HOME", "HOME"}) ::unsetenv(name);
  EXPECT_EQ(default_state_directory().error().code, Errc::not_found);
}

TEST(StateDirectory, MadePrivateAndCheckedAgain) {
  const TempDirectory temp;
  const std::string path = temp.path() + "/a/b/c";
  ASSERT_TRUE(create_state_directory(path));
  ASSERT_TRUE(create_state_directory(path));
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  for (const mode_t mode : {0720u, 0702u}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    EXPECT_EQ(check_state_directory(path).error().code, Errc::invalid);
  }
  temp.write("file", "");
  EXPECT_EQ(check_state_directory(temp.path() + "/file").error().code, Errc::invalid);
  EXPECT_EQ(check_state_directory(temp.path() + "/none").error().code, Errc::not_found);
  EXPECT_EQ(create_state_directory(temp.path() + "/file/x").error().code, Errc::io);
  EXPECT_EQ(create_state_directory("").error().code, Errc::invalid);
}

TEST(StateLock, OneAtATime) {
  const TempDirectory temp;
  EXPECT_FALSE(StateLock::is_taken(temp.path()));
  {
    auto lock = StateLock::take(temp.path());
    ASSERT_TRUE(lock);
    EXPECT_TRUE(StateLock::is_taken(temp.path()));
    auto second = StateLock::take(temp.path());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Errc::limit);
    EXPECT_NE(second.error().message.find("process " + std::to_string(::getpid())), std::string::npos);
  }
  EXPECT_FALSE(StateLock::is_taken(temp.path()));
  EXPECT_TRUE(StateLock::take(temp.path()));
}

TEST(StateLock, WhoAsksDoesNotKeepARunFromStarting) {
  const TempDirectory temp;
  ASSERT_TRUE(StateLock::take(temp.path()));
  const pid_t child = ::fork();  // it holds the lock as long as is_taken() would at worst
  if (child == 0) {
    const UniqueFd fd(::open(lock_path(temp.path()).c_str(), O_RDONLY));
    for (int i = 0; i < 10000; ++i) {
      ::flock(fd.get(), LOCK_SH);
      ::usleep(10);
      ::flock(fd.get(), LOCK_UN);
      ::usleep(200);
    }
    ::_exit(0);
  }
  int taken = 0;
  for (int i = 0; i < 50; ++i)
    if (StateLock::take(temp.path())) ++taken;
  EXPECT_EQ(taken, 50);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

// A process that has the lock until it is killed: all of it, as a supervisor, or this half, as a guest.
pid_t keeps(int half = -1) {
  int ready[2];
  EXPECT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child != 0) {
    ::close(ready[1]);
    char none = 0;
    EXPECT_EQ(::read(ready[0], &none, 1), 0) << "until it has nothing else open";
    ::close(ready[0]);
    return child;
  }
  if (half >= 0) {
    ::dup2(half, 0);
    ::close_range(1, ~0U, 0);
  }
  ::close(ready[1]);
  for (;;) ::pause();
}

TEST(StateLock, AGuestThatOutlivesItsSupervisorKeepsItsDirectory) {
  const TempDirectory temp;
  auto first = StateLock::take(temp.path());
  ASSERT_TRUE(first);
  EXPECT_EQ(::fcntl(first->guest_fd(), F_GETFL) & O_ACCMODE, O_RDONLY) << "QEMU gets it";
  const pid_t guest = keeps(first->guest_fd());
  temp.write("lock", std::to_string(guest) + "\n");  // as oboro-qemu has it, which has become QEMU
  first = Error{};
  EXPECT_FALSE(StateLock::is_taken(temp.path()));
  const auto second = StateLock::take(temp.path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::limit);
  EXPECT_NE(second.error().message.find("(process " + std::to_string(guest) + "): end its QEMU first"),
            std::string::npos)
      << second.error().message;
  ::kill(guest, SIGKILL);
  ::waitpid(guest, nullptr, 0);
  EXPECT_TRUE(StateLock::take(temp.path()));
}

TEST(StateLock, TheRestOfARunWhoseOwnerIsGoneIsWaitedFor) {
  const TempDirectory temp;
  const pid_t owner = ::fork();
  if (owner == 0) ::_exit(0);
  ::waitpid(owner, nullptr, 0);
  for (const bool supervisor : {true, false}) {
    auto first = StateLock::take(temp.path());
    ASSERT_TRUE(first);
    const pid_t rest = keeps(supervisor ? -1 : first->guest_fd());
    temp.write("lock", std::to_string(owner) + "\n");
    first = Error{};
    std::thread end([rest] {
      ::usleep(200'000);
      ::kill(rest, SIGKILL);
      ::waitpid(rest, nullptr, 0);
    });
    EXPECT_TRUE(StateLock::take(temp.path()));
    end.join();
  }
}

TEST(Status, RoundTrip) {
  const TempDirectory temp;
  EXPECT_EQ(read_status(temp.path()).error().code, Errc::not_found);
  Status status;
  status.engine = "tcg";
  status.vm = "a\xff";
  status.state = "ended";
  status.hooks_armed = 61;
  status.profile_cached = true;
  status.arm_ms = 212.48;
  status.started = 1'795'383'956'000'000'007;
  status.exit = 0;
  ASSERT_TRUE(write_status(temp.path(), status));
  const auto back = read_status(temp.path());
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->vm, status.vm);
  EXPECT_EQ(back->hooks_armed, 61u);
  EXPECT_TRUE(back->profile_cached);
  EXPECT_DOUBLE_EQ(back->arm_ms, 212.48);
  EXPECT_EQ(back->started, status.started);
  EXPECT_EQ(back->ended, 0u);
  EXPECT_EQ(back->exit, 0);
  for (const char* bad : {"", "[]", "{", R"({"pid":"x"})", R"({"vm":1})", R"({"started":"soon"})", R"({"exit":-1})",
                          R"({"profile_cached":1})", R"({"a":[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]})"}) {
    temp.write("status.json", bad);
    EXPECT_EQ(read_status(temp.path()).error().code, Errc::invalid) << bad;
  }
}

TEST(Files, Bounded) {
  const TempDirectory temp;
  temp.write("x", std::string(100, 'x'));
  EXPECT_EQ(read_file(temp.path() + "/x", 99).error().code, Errc::limit);
  EXPECT_EQ(read_file(temp.path() + "/x", 100)->size(), 100u);
  EXPECT_TRUE(write_file_atomically(temp.path() + "/x", "new"));
  EXPECT_EQ(temp.read("x"), "new");
  EXPECT_FALSE(write_file_atomically(temp.path() + "/none/x", "new"));
}

}  // namespace
}  // namespace oboro::store
