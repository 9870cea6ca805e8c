#include "supervisor/guest_test.h"

#include <array>
#include <filesystem>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "supervisor/supervisor.h"

namespace oboro::supervisor {
namespace {

TEST_F(GuestTest, FromItsBeginToItsEnd) {
  start(kEndsWhenTold, "while [ ! -e \"$OUT/end\" ]; do sleep 0.05; done");
  EXPECT_EQ(state(), "booting");
  say(link::Armed{"6.1.0", "0123", 35, true, 1500});
  turn_until([this] { return state() == "tracing"; });
  EXPECT_EQ(store::read_status(options.state_dir)->arm_ms, 1.5);
  EXPECT_EQ(overs, 0);
  directory.write("end", "");
  turn_until_over();
  EXPECT_EQ(overs, 1);
  ASSERT_TRUE(guest->ending());
  EXPECT_EQ(*guest->ending(), Ending::guest_ended);
  EXPECT_EQ(state(), "ended");
  EXPECT_NE(file("state/events.jsonl").find("\"stopped\""), std::string::npos);
  EXPECT_NE(access((options.state_dir + "/run.sock").c_str(), F_OK), 0);
}

TEST_F(GuestTest, OneThatCannotBeWatchedIsOverBeforeItsJournalEnds) {
  prepare(std::string(kGoesOn) + kForEver);
  Result<Child> child = Child::start({options.machine.qemu}, {}, {});
  ASSERT_TRUE(child) << child.error().message;
  const pid_t pid = child->pid();
  const std::string status = options.state_dir + "/status.json";
  std::filesystem::remove(status);
  std::filesystem::create_directories(status + "/in the way");
  const Result<void> watched = guest->watch(*loop, std::move(*child), {}, [] {});
  ASSERT_FALSE(watched);
  guest->give_up(watched.error());
  EXPECT_EQ(kill(pid, 0), -1) << "it could still report";
  EXPECT_NE(file("state/events.jsonl").find("\"stopped\""), std::string::npos);
}

TEST_F(GuestTest, EverythingIsAnsweredWhileAProfileIsBuilt) {
  // Longer than this test may take in any case: answers below do not come after the builder's.
  script("builder", "echo $$ > \"$OUT/pid\"; exec sleep 600");
  start();
  say(link::IdentifyKernel{"0123456789abcdef", 0xffffffff81000000});
  turn_until([this] { return !file("pid").empty(); });
  const pid_t builder = atoi(file("pid").c_str());
  const auto begin = std::chrono::steady_clock::now();
  int answers = 0;
  for (int i = 0; i < 20; ++i) {
    if (ask("status") == "booting") ++answers;
    std::future<std::string> detach = asks("detach");
    const link::Message message = command();
    EXPECT_TRUE(message.as<link::Detach>());
    ASSERT_TRUE(link::send(commands.get(), link::Done{}, message.request));
    if (answer_of(std::move(detach)) == "ok") ++answers;
  }
  EXPECT_EQ(answers, 40);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(40)) << "1 s for each";
  EXPECT_EQ(kill(builder, 0), 0) << "all of that while it works";
  guest->end();
  EXPECT_EQ(kill(builder, 0), -1) << "nobody needs that any more";
  turn_until_over();
  EXPECT_EQ(file("told"), "told\n");
}

TEST_F(GuestTest, AQemuThatDoesNotEndIsKilledAndNobodyWaitsForItMeanwhile) {
  start(kGoesOn);
  turn();
  guest->end();
  guest->end();
  turn_until([this] { return !file("told").empty(); });
  EXPECT_EQ(ask("status"), "booting");
  turn_until_over();
  ASSERT_TRUE(guest->ending());
  EXPECT_EQ(*guest->ending(), Ending::failed);
  EXPECT_NE(store::read_status(options.state_dir)->error.find("signal 9"), std::string::npos);
}

TEST_F(GuestTest, TheTracersAnswersAreTheClients) {
  start();
  std::future<std::string> stats = asks("stats"), refused = asks("detach");
  for (int i = 0; i < 2; ++i) {
    const link::Message message = command();
    // An answer to a question that nobody has asked.
    ASSERT_TRUE(link::send(commands.get(), link::Done{}, message.request + 1000));
    if (message.as<link::GetStats>()) {
      ASSERT_TRUE(link::send(commands.get(), link::Stats{.hooks_armed = 35, .boot = 2}, message.request));
    } else {
      ASSERT_TRUE(link::send(commands.get(), link::Failed{"not here"}, message.request));
    }
  }
  const std::string text = answer_of(std::move(stats));
  EXPECT_NE(text.find("hooks_armed 35\n"), std::string::npos) << text;
  EXPECT_NE(text.find("boot 2\n"), std::string::npos) << text;
  EXPECT_EQ(answer_of(std::move(refused)), "not here");
  EXPECT_EQ(ask("dance"), "the request is not understood");
  std::future<std::string> ping = asks("ping");
  command();
  commands.reset();
  EXPECT_EQ(answer_of(std::move(ping)), "the tracer is gone");
  EXPECT_EQ(ask("ping"), "the tracer is gone");
  guest->end();
  turn_until_over();
}

TEST_F(GuestTest, WhatCannotBeTracedIsEnded) {
  start();
  say(link::Untraceable{"why"});
  turn_until_over();
  EXPECT_EQ(file("told"), "told\n");
  ASSERT_TRUE(guest->ending());
  EXPECT_EQ(*guest->ending(), Ending::not_traceable);
  EXPECT_EQ(state(), "failed");
}

TEST_F(GuestTest, AnErrorIsTheRunsEnd) {
  start();
  say(link::RunUntraced{});
  turn_until_over();
  EXPECT_EQ(file("told"), "told\n");
  ASSERT_FALSE(guest->ending());
  EXPECT_EQ(guest->ending().error().code, Errc::invalid);
}

TEST_F(GuestTest, ItsQemuNeedNotBeOurChild) {
  prepare("");
  const pid_t qemu = fork();
  if (qemu == 0) {
    pause();
    _exit(1);
  }
  Result<Child> adopted = Child::adopt(qemu);
  ASSERT_TRUE(adopted);
  watch(std::move(*adopted));
  turn();
  EXPECT_EQ(overs, 0);
  kill(qemu, SIGKILL);
  turn_until_over();
  ASSERT_TRUE(guest->ending());
  EXPECT_EQ(*guest->ending(), Ending::guest_ended) << "how it ended nobody tells us";
  int status = 0;
  EXPECT_EQ(waitpid(qemu, &status, 0), qemu) << "that is its parent's";
}

TEST_F(GuestTest, ASignalForTheSupervisorEndsItsQemuInOrder) {
  script("qemu", std::string(kEndsWhenTold) + kForEver);
  options.machine.kernel = "/dev/null";
  options.machine.memory = 64 << 20;
  const pid_t supervisor = fork();
  if (supervisor == 0) {
    const Result<Ending> ending = run(options);
    _exit(ending && *ending == Ending::guest_ended ? 17 : 1);
  }
  for (int i = 0; i < 3000 && file("up").empty(); ++i) usleep(20000);
  kill(supervisor, SIGTERM);
  int status = 0;
  ASSERT_EQ(waitpid(supervisor, &status, 0), supervisor);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 17) << status;
  EXPECT_EQ(file("told"), "told\n");
  EXPECT_EQ(state(), "ended");
}

// QEMU is a process that makes a machine, as far as the kernel lets it. Its exit status is errno then.
class GateOfGuestTest : public GuestTest {
 protected:
  void start(bool seen) {
    options.machine.engine = Engine::kvm;
    prepare("");
    if (seen) say(link::MachineFound{});
    std::array<int, 2> pair{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()), 0);
    const UniqueFd ours(pair[0]);
    UniqueFd theirs(pair[1]);
    qemu = fork();
    if (qemu == 0) {
      signal(SIGTERM, SIG_IGN);
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      const int error = Gate::enter(theirs.get());
      theirs.reset();
      _exit(error != 0 ? 100 + error : ioctl(-1, KVM_CREATE_VM, 0) == 0 ? 0 : errno);
    }
    theirs.reset();
    gate = Gate::receive(ours.get());
    stands = gate.stands();
    Result<Child> adopted = Child::adopt(qemu);
    ASSERT_TRUE(adopted) << adopted.error().message;
    watch(std::move(*adopted));
    turn_until_over();
    int status = 0;
    ASSERT_EQ(waitpid(qemu, &status, 0), qemu);
    exit_status = WEXITSTATUS(status);
  }
  pid_t qemu = 0;
  int exit_status = 0;
  bool stands = false;
};

TEST_F(GateOfGuestTest, AMachineThatTheTracerHasSeenIsMade) {
  start(true);
  if (!stands) GTEST_SKIP() << "this host: no seccomp user notification, errno " << exit_status - 100;
  EXPECT_EQ(exit_status, EBADF) << "the kernel's own answer";
  EXPECT_TRUE(guest->ending());
}

TEST_F(GateOfGuestTest, NoMachineIsMadePastTheTracer) {
  start(false);
  if (!stands) GTEST_SKIP() << "this host: no seccomp user notification, errno " << exit_status - 100;
  EXPECT_EQ(exit_status, EPERM);
  ASSERT_FALSE(guest->ending());
  EXPECT_NE(guest->ending().error().message.find("past the tracer"), std::string::npos)
      << guest->ending().error().message;
}

}  // namespace
}  // namespace oboro::supervisor
