#include "guest/profile/lockdown.h"

#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace oboro::guest {
namespace {

// The wait status of a process that is locked down, and then runs the action.
template <typename Action>
int status_of(Action action) {
  const pid_t child = fork();
  if (child == 0) {
    if (!lock_down()) _exit(99);
    action();
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

bool killed_by_filter(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS; }

TEST(LockDown, LeavesMemoryAndOutput) {
  const int status = status_of([] {
    std::vector<char> small(100), large(50 << 20, 'x');
    if (small.size() + large.size() < 100) _exit(1);
    if (write(STDERR_FILENO, "", 0) != 0) _exit(2);
  });
  EXPECT_EQ(status, 0);
}

TEST(LockDown, TakesTheRest) {
  EXPECT_TRUE(killed_by_filter(status_of([] { (void)open("/etc/passwd", O_RDONLY); })));
  EXPECT_TRUE(killed_by_filter(status_of([] { (void)socket(AF_INET, SOCK_STREAM, 0); })));
  EXPECT_TRUE(killed_by_filter(status_of([] { (void)fork(); })));
  EXPECT_TRUE(killed_by_filter(status_of([] { (void)kill(getppid(), 0); })));
  EXPECT_TRUE(killed_by_filter(status_of([] { (void)execl("/bin/true", "true", nullptr); })));
  EXPECT_TRUE(killed_by_filter(status_of([] { (void)!write(7, "x", 1); })));
  EXPECT_TRUE(killed_by_filter(
      status_of([] { (void)mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); })));
}

}  // namespace
}  // namespace oboro::guest
