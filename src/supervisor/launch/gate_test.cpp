#include "supervisor/launch/gate.h"

#include <array>
#include <errno.h>
#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/launch/child.h"

namespace oboro::supervisor {
namespace {

class GateTest : public testing::Test {
 protected:
  // Has a process behind the gate do this, and exit with what it returns.
  template <typename Work>
  void behind(Work&& work) {
    std::array<int, 2> pair{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()), 0);
    UniqueFd ours(pair[0]), theirs(pair[1]);
    child = fork();
    if (child == 0) {
      ours.reset();
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      if (const int error = Gate::enter(theirs.get()); error != 0) _exit(100 + error);
      theirs.reset();
      _exit(work());
    }
    theirs.reset();
    gate = Gate::receive(ours.get());
    if (gate.stands()) return;
    const int error = over() - 100;
    if (error == EBUSY || error == EACCES || error == EINVAL || error == ENOSYS)
      GTEST_SKIP() << "this host: no seccomp user notification, errno " << error;
    FAIL() << "errno " << error;
  }
  int over() const {
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  Gate::Who who() const {
    pollfd watched{gate.poll_fd(), POLLIN, 0};
    poll(&watched, 1, -1);
    return gate.waits();
  }
  static int make_machine() { return ioctl(-1, KVM_CREATE_VM, 0) == 0 ? 0 : errno; }

  Gate gate;
  pid_t child = 0;
};

TEST_F(GateTest, LetsThroughWhatIsAllowed) {
  behind(make_machine);
  if (!gate.stands()) return;
  ASSERT_EQ(who(), Gate::Who::somebody);
  gate.answer(true);
  EXPECT_EQ(over(), EBADF) << "the kernel's own answer";
  EXPECT_EQ(who(), Gate::Who::gone);
}

TEST_F(GateTest, RefusesWhatIsNot) {
  behind(make_machine);
  if (!gate.stands()) return;
  ASSERT_EQ(who(), Gate::Who::somebody);
  gate.answer(false);
  EXPECT_EQ(over(), EPERM);
}

TEST_F(GateTest, WhereNobodyAnswersNoMachineIsMade) {
  behind(make_machine);
  if (!gate.stands()) return;
  ASSERT_EQ(who(), Gate::Who::somebody);
  gate = Gate();
  EXPECT_EQ(over(), ENOSYS);
}

TEST_F(GateTest, NothingElseWaits) {
  behind([] { return ioctl(-1, KVM_CREATE_VCPU, 0) != 0 && errno == EBADF && write(-1, "", 1) < 0 ? 7 : 8; });
  if (!gate.stands()) return;
  EXPECT_EQ(over(), 7);
  EXPECT_EQ(who(), Gate::Who::gone);
}

TEST_F(GateTest, WhoWaitsMayBeEnded) {
  behind(make_machine);
  if (!gate.stands()) return;
  ASSERT_EQ(who(), Gate::Who::somebody);
  kill(child, SIGKILL);
  EXPECT_EQ(over(), -SIGKILL);
  gate.answer(true);  // does not wait
  EXPECT_EQ(who(), Gate::Who::gone);
}

TEST_F(GateTest, AChildThatCannotStartSaysWhyAllTheSame) {
  Gate standing;
  const Result<Child> none = Child::start({"/nowhere/qemu"}, {}, {}, nullptr, &standing);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("No such file"), std::string::npos) << none.error().message;
}

}  // namespace
}  // namespace oboro::supervisor
