// How a change of phase affects vCPUs that are in the middle of something.

#include "tracer/entry/kvm/kvm_session_test.h"

#include <poll.h>
#include <signal.h>

namespace oboro::tracer {
namespace {

constexpr int kShort = 200;  // ms in which nothing happens

TEST_F(KvmSessionTest, HooksGoOnlyWhenNoHandlerUsesThem) {
  boot();
  hold(cpus[1]);
  auto handler = calls(1, Symbol::fn_file_open);
  wait_until_held(cpus[1]);
  command_detach();
  EXPECT_FALSE(told<link::Detached>(kShort));
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
  release(cpus[1]);
  EXPECT_TRUE(told<link::Detached>());
  EXPECT_FALSE(hooked(Symbol::fn_file_open));
  EXPECT_EQ(end_of(std::move(handler)).rip, guest.symbol(Symbol::fn_file_open).value + 5);
}

TEST_F(KvmSessionTest, ABootEndsOnlyWhenNoHandlerUsesIt) {
  boot();
  hold(cpus[1]);
  auto handler = calls(1, Symbol::fn_file_open);
  wait_until_held(cpus[1]);
  auto kexec = calls(0, Symbol::fn_machine_kexec);
  EXPECT_FALSE(told<link::Reset>(kShort));
  release(cpus[1]);
  EXPECT_TRUE(told<link::Reset>());
  end_of(std::move(handler));
  end_of(std::move(kexec));
  EXPECT_FALSE(hooked(Symbol::fn_file_open));
}

// Each of the two waits for the other's handler to end. Only one can go first: the other waits to make a change itself.
TEST_F(KvmSessionTest, TwoThatEndTheBootDoNotWaitForEachOther) {
  boot();
  hold(cpus[1]);
  auto second = calls(1, Symbol::fn_machine_kexec);
  wait_until_held(cpus[1]);
  auto first = calls(0, Symbol::fn_machine_kexec);
  EXPECT_FALSE(told<link::Reset>(kShort));
  release(cpus[1]);
  end_of(std::move(first));
  end_of(std::move(second));
  EXPECT_TRUE(told<link::Reset>());
}

// While one vCPU's thread looks which kernel that is, two more want to look. One of these arms then.
TEST_F(KvmSessionTest, WhoWaitsToLookHowFarTheBootIsDoesNotHoldUpArming) {
  guest.write(guest.symbol(Symbol::system_state), uint32_t{1});
  const auto looks = [this](size_t i) {
    return std::async(std::launch::async, [this, i] { exit_somewhere(cpus[i]); });
  };
  hold(cpus[2]);
  auto first = looks(2);
  wait_until_held(cpus[2]);
  auto second = looks(0), third = looks(1);
  EXPECT_FALSE(told<link::Armed>(kShort));
  release(cpus[2]);
  end_of(std::move(first));
  end_of(std::move(second));
  end_of(std::move(third));
  EXPECT_TRUE(told<link::Armed>());
}

TEST_F(KvmSessionTest, AResetIsOneInRealMode) {
  boot();
  cpus[0].sregs.cs.selector = kUserCode;
  session().vcpu_was_reset(*cpus[0].vcpu);
  EXPECT_FALSE(told<link::Reset>(kShort)) << "a program that stands at that address";
  cpus[1].sregs.cr0 = 0x60000010;
  cpus[1].sregs.cs.selector = 0xf000;
  session().vcpu_was_reset(*cpus[1].vcpu);
  EXPECT_FALSE(told<link::Reset>(kShort)) << "one that the guest starts";
  cpus[0].sregs = cpus[1].sregs;
  session().vcpu_was_reset(*cpus[0].vcpu);
  EXPECT_TRUE(told<link::Reset>());
}

class LettingGoTest : public KvmSessionTest, public testing::WithParamInterface<bool> {
 protected:
  void let_go() {
    if (GetParam())
      command_detach();
    else
      commands.reset();  // the supervisor ends
  }
  bool is_marked() {
    return guest.get(tasks[1], Field::thread_info_syscall_work) >>
               (guest.profile[Field::syscall_user_dispatch_bit] & 63) &
           1;
  }
};

// A thread may stay there for as long as the guest likes.
TEST_P(LettingGoTest, HooksStayWhileAThreadIsInTheGuestsKernel) {
  boot();
  start_service(1);
  ASSERT_TRUE(is_marked());
  const kvm_regs away = begin_call();
  EXPECT_EQ(away.rip, guest.symbol(Symbol::call_get_free_pages).value);
  let_go();
  const auto stays = told<link::NotDetached>();
  ASSERT_TRUE(stays);
  EXPECT_NE(stays->who.find("process 101 (hidden service web)"), std::string::npos) << stays->who;
  EXPECT_FALSE(is_marked());
  EXPECT_FALSE(told<link::Detached>(0));
  EXPECT_TRUE(hooked(Symbol::fn_syscall_user_dispatch));
  const kvm_regs end = come_back(away);
  EXPECT_EQ(end.rip, kCaller);
  EXPECT_EQ(end.rax, 1u) << "answered: there was no memory";
  EXPECT_TRUE(told<link::Detached>());
  EXPECT_FALSE(hooked(Symbol::fn_syscall_user_dispatch));
}

TEST_P(LettingGoTest, AThreadThatSleepsElsewhereIsNotWaitedForLong) {
  boot();
  start_service(1);
  let_go();
  EXPECT_TRUE(told<link::Detached>());
  EXPECT_FALSE(told<link::NotDetached>(0));
  EXPECT_FALSE(is_marked());
}

TEST_P(LettingGoTest, ANewBootIsNotWaitedFor) {
  boot();
  start_service(1);
  begin_call();
  let_go();
  ASSERT_TRUE(told<link::NotDetached>());
  call(0, Symbol::fn_machine_kexec);
  EXPECT_TRUE(told<link::Reset>());
  EXPECT_TRUE(told<link::Detached>()) << "what kept the hooks is gone";
}

INSTANTIATE_TEST_SUITE_P(Ways, LettingGoTest, testing::Bool(),
                         [](const auto& way) { return way.param ? "Asked" : "Orphaned"; });

class PauseTest : public KvmSessionTest {
 protected:
  PauseTest() { on_supervisor_loss = policy::Reaction::pause; }
  void lose_supervisor() {
    commands.reset();
    for (int i = 0; i < 5000 && !session().machine.paused(); ++i) usleep(1000);
    ASSERT_TRUE(session().machine.paused());
  }
};

TEST_F(PauseTest, WithoutItsSupervisorATracedGuestStandsStill) {
  boot();
  lose_supervisor();
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
  std::atomic<pthread_t> thread{};
  std::atomic<bool> back{false};
  Cpu& cpu = cpus[0];
  cpu.exit_reason = KVM_EXIT_MMIO;
  auto entry = std::async(std::launch::async, [&] {
    thread = pthread_self();
    const int result = session().run(*cpu.vcpu);
    const int error = errno;
    back = true;
    return std::pair(result, error);
  });
  usleep(kShort * 1000);
  EXPECT_FALSE(back) << "the guest went on";
  // As a VMM does it to stop a vCPU that is in the guest.
  struct sigaction kick {};
  kick.sa_handler = [](int) { cpus[0].vcpu->run().immediate_exit = 1; };
  sigaction(SIGUSR1, &kick, nullptr);
  pthread_kill(thread, SIGUSR1);
  EXPECT_EQ(end_of(std::move(entry)), std::pair(-1, EINTR));
  EXPECT_EQ(cpu.exit_reason, uint32_t{KVM_EXIT_MMIO}) << "it was in the guest";
  EXPECT_TRUE(cpu.vcpu->run().immediate_exit) << "the VMM's to take back";
  cpu.exit_reason = 0;
  cpu.vcpu->run().immediate_exit = 0;
}

TEST_F(PauseTest, NoHandlerIsHeldInTheMiddle) {
  boot();
  hold(cpus[1]);
  auto handler = std::async(std::launch::async, [this] {
    cpus[1].exit_reason = KVM_EXIT_IO;
    cpus[1].next = {};
    cpus[1].next.rip = guest.symbol(Symbol::fn_file_open).value;
    cpus[1].next.rsp = stacks[1].value;
    cpus[1].vcpu->run().immediate_exit = 1;  // the VMM wants it back as soon as it is out of the handler
    return session().run(*cpus[1].vcpu);
  });
  wait_until_held(cpus[1]);
  commands.reset();
  usleep(kShort * 1000);
  EXPECT_FALSE(session().machine.paused()) << "while a handler runs";
  release(cpus[1]);
  EXPECT_EQ(end_of(std::move(handler)), -1);
  for (int i = 0; i < 5000 && !session().machine.paused(); ++i) usleep(1000);
  EXPECT_TRUE(session().machine.paused());
  cpus[1].vcpu->run().immediate_exit = 0;
}

TEST_F(PauseTest, ItsSupervisorStopsItAndLetsItGoOn) {
  boot();
  const auto ask = [&](const link::Body& body) {
    EXPECT_TRUE(link::send(commands.get(), body, 1));
    const auto answer = link::receive(commands.get(), 10000);
    EXPECT_TRUE(answer && answer->as<link::Done>());
  };
  ask(link::Pause{});
  EXPECT_TRUE(session().machine.paused());
  Cpu& cpu = cpus[0];
  cpu.exit_reason = KVM_EXIT_MMIO;
  std::atomic<bool> back{false};
  auto entry = std::async(std::launch::async, [&] {
    int result = 0;
    while ((result = session().run(*cpu.vcpu)) != 0 && errno == EINTR) {  // as a VMM does
    }
    back = true;
    return result;
  });
  usleep(kShort * 1000);
  EXPECT_FALSE(back) << "the guest went on";
  ask(link::Resume{});
  EXPECT_EQ(end_of(std::move(entry)), 0);
  EXPECT_FALSE(session().machine.paused());
  cpu.exit_reason = 0;
}

class DenyTest : public KvmSessionTest {
 protected:
  DenyTest() { on_supervisor_loss = policy::Reaction::deny; }
};

TEST_F(DenyTest, WithoutItsSupervisorATracedGuestRunsOnAndSendsNothing) {
  boot();
  // Its message goes to standard error.
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd said(ends[0]), before(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  commands.reset();
  std::string words;
  for (pollfd wait{said.get(), POLLIN, 0}; words.find('\n') == std::string::npos && poll(&wait, 1, 20000) == 1;) {
    char part[512];
    words.append(part, static_cast<size_t>(std::max<ssize_t>(read(said.get(), part, sizeof part), 0)));
  }
  dup2(before.get(), STDERR_FILENO);
  EXPECT_NE(words.find("the guest can send nothing to other machines"), std::string::npos) << words;
  EXPECT_FALSE(session().machine.paused());
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
}

class KillTest : public KvmSessionTest {
 protected:
  KillTest() {
    on_supervisor_loss = policy::Reaction::kill;
    testing::GTEST_FLAG(death_test_style) = "threadsafe";
  }
};

TEST_F(KillTest, WithoutItsSupervisorTheVmmEnds) {
  EXPECT_EXIT(
      {
        boot();
        control.reset();
        sleep(20);
        _exit(0);
      },
      testing::ExitedWithCode(3), "the supervisor is gone");
}

}  // namespace
}  // namespace oboro::tracer
