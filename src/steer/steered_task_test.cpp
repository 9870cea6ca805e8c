// A task that waits for somebody outside of the guest: no service, no proxy, no descriptor.

#include "steer/steered_task.h"

#include <cerrno>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <string>

#include "tests/support/guest/fake_guest.h"

namespace oboro::steer {
namespace {

using guest::Symbol;

// Answers at the nth look.
struct Oracle final : Answerable {
  bool ready() override {
    if (cancels && answers_after_cancel && --answers_after_cancel == 0) return true;
    return ++looks >= answers_at;
  }
  bool gone(uint64_t, unsigned) override { return is_gone; }
  void stand(uint64_t nanoseconds) override {
    ++stands;
    stood_ns += nanoseconds;
  }
  void cancel() override { ++cancels; }

  unsigned looks = 0, answers_at = 1, stands = 0, cancels = 0;
  uint64_t stood_ns = 0;
  unsigned answers_after_cancel = 0;  // so many looks; 0: never
  bool is_gone = false;
};

// The part of a vCPU that an engine lets apply() change.
struct AtHook {
  fake::FakeVcpu& vcpu;
  fake::FakeGuest& guest;
  std::optional<Gva> at{};
  uint64_t reg(arch::Reg reg) { return vcpu.reg(reg); }
  void set(arch::Reg reg, uint64_t value) { vcpu.set(reg, value); }
  bool read_word(Gva where, uint64_t& out) { return guest.kernel().read(where, &out, sizeof out); }
  void go_to(Gva where) { at = where; }
};

class SteeredTaskTest : public testing::Test {
 protected:
  static constexpr Symbol kHooked = Symbol::fn_socket_sendmsg;
  static constexpr uint64_t kReturn = 0xffffffff81000010;
  enum class End { ran, returned, lost };
  using Work = std::function<Routine<Outcome>(SteeredTask&)>;

  // The task calls the hooked function. Its kernel then does what each answer says, until the function runs or returns.
  End call(SteeredTask& task, const Work& work) {
    guest.run(vcpu, task.task().at);
    vcpu.set_arguments({11, 12, 13, 14});
    arch::use_frame(vcpu, make_frame());
    for (unsigned step = 0; step < 100000; ++step) {
      engine::Response response;
      std::optional<Outcome> outcome;
      if (task.comes_back(vcpu, kHooked)) {
        outcome = task.go_on(vcpu, response);
      } else {
        task.begin(vcpu, kHooked);
        outcome = task.start(vcpu, work(task), response);
      }
      if (outcome) response = outcome->native ? task.runs() : task.returns(outcome->value);
      AtHook hook{vcpu, guest};
      EXPECT_TRUE(engine::apply(response, hook));
      if (!hook.at) return End::ran;
      if (*hook.at == Gva(kReturn)) return End::returned;
      EXPECT_TRUE(std::holds_alternative<engine::Call>(response));
      if (!execute(std::get<engine::Call>(response))) return End::lost;
    }
    return End::lost;
  }
  // Runs one of the kernel's functions to its return: to the hooked function, with anything in the registers.
  bool execute(const engine::Call& to) {
    const Gva function = to.function;
    ++calls[function.value];
    state = static_cast<uint32_t>(guest.get(leader, guest::Field::task_state));
    uint64_t result = 0;
    if (function == guest.symbol(Symbol::call_schedule_hrtimeout)) {
      sleeps.push_back(guest.word(Gva(arch::argument(vcpu, 0))));
      result = state == static_cast<uint32_t>(SteeredTask::Sleep::interruptible) ? signal : death;
    }
    vcpu.set_arguments({0x5a5a, 0x5a5a, 0x5a5a, 0x5a5a});
    AtHook at{vcpu, guest};
    return arch::return_from(at, to.frame, result) && at.at == guest.symbol(kHooked);
  }
  arch::CallFrame make_frame() {
    return arch::make_frame(stack, Gva(kReturn), [this](Gva at, uint64_t word) { guest.write(at, word); });
  }
  unsigned count(Symbol function) { return calls[guest.symbol(function).value]; }
  // A policy that asks somebody outside. The call's result is what that one says.
  Work ask(WaitFor how = {}, int64_t decision = -EACCES) {
    return [this, how, decision](SteeredTask& task) -> Routine<Outcome> {
      return asked(task, oracle, how, decision, end);
    };
  }
  static Routine<Outcome> asked(SteeredTask& task, Oracle& oracle, WaitFor how, int64_t decision, WaitEnd& end) {
    end = co_await task.wait_for(oracle, how);
    co_return end == WaitEnd::answered&& decision == 0 ? Outcome{} : Outcome::answer(decision);
  }

  fake::FakeGuest guest{size_t{20} << 20};
  Gva leader = guest.task(100, "asks");
  Gva stack = guest.allocate() + 2048;
  fake::FakeVcpu vcpu;
  Oracle oracle;
  WaitEnd end{};
  std::map<uint64_t, unsigned> calls;  // of kernel functions
  std::vector<uint64_t> sleeps;        // ns
  uint32_t state = 0;                  // the task's, at the last of them
  uint64_t signal = 0, death = 0;      // the results of a sleep
};

TEST_F(SteeredTaskTest, AnAnswerThatIsThereCostsTheGuestNothing) {
  SteeredTask task(guest.kernel(), guest::Task{leader}, Wait::park);
  EXPECT_EQ(call(task, ask()), End::returned);
  EXPECT_EQ(end, WaitEnd::answered);
  EXPECT_TRUE(calls.empty());
  EXPECT_EQ(arch::result(vcpu), static_cast<uint64_t>(-EACCES));
  EXPECT_FALSE(task.busy());
}

TEST_F(SteeredTaskTest, TheGuestGoesOnUntilItIsThere) {
  SteeredTask task(guest.kernel(), guest::Task{leader}, Wait::park);
  oracle.answers_at = 6;
  EXPECT_EQ(call(task, ask()), End::returned);
  EXPECT_EQ(count(Symbol::call_yield) + count(Symbol::call_schedule_hrtimeout), 5u);
  EXPECT_EQ(oracle.stands, 0u);
  EXPECT_EQ(arch::result(vcpu), static_cast<uint64_t>(-EACCES));
  EXPECT_TRUE(arch::has_returned(vcpu, make_frame()));
}

TEST_F(SteeredTaskTest, ThenTheFunctionRunsAsItWasCalled) {
  SteeredTask task(guest.kernel(), guest::Task{leader}, Wait::park);
  oracle.answers_at = 6;
  EXPECT_EQ(call(task, ask({}, 0)), End::ran);
  EXPECT_EQ(arch::call_frame(vcpu).stack, stack);
  for (const uint64_t i : {0, 1, 2, 3}) EXPECT_EQ(arch::argument(vcpu, i), 11 + i);
}

TEST_F(SteeredTaskTest, ALongWaitSleepsAndOnlyDeathEndsIt) {
  SteeredTask task(guest.kernel(), guest::Task{leader}, Wait::park);
  oracle.answers_at = 60;
  signal = static_cast<uint64_t>(-EINTR);
  EXPECT_EQ(call(task, ask()), End::returned);
  EXPECT_EQ(end, WaitEnd::answered);
  ASSERT_GT(sleeps.size(), 10u);
  for (const uint64_t length : sleeps) {
    EXPECT_GE(length, SteeredTask::kShortestSleepNs);
    EXPECT_LE(length, SteeredTask::kLongestSleepNs);
  }
  EXPECT_EQ(state, static_cast<uint32_t>(SteeredTask::Sleep::killable));
  oracle = {};
  oracle.answers_at = UINT32_MAX;
  death = static_cast<uint64_t>(-EINTR);
  EXPECT_EQ(call(task, ask()), End::returned);
  EXPECT_EQ(end, WaitEnd::killed);
  EXPECT_EQ(oracle.cancels, 0u);
}

TEST_F(SteeredTaskTest, ASignalHasItCancelledAndItsAnswerIsWaitedFor) {
  SteeredTask task(guest.kernel(), guest::Task{leader}, Wait::park);
  oracle.answers_at = UINT32_MAX;
  oracle.answers_after_cancel = 60;
  signal = static_cast<uint64_t>(-EINTR);
  EXPECT_EQ(call(task, ask({.interruptible = true})), End::returned);
  EXPECT_EQ(end, WaitEnd::cancelled);
  EXPECT_EQ(oracle.cancels, 1u) << "the same signal, seen again";
  EXPECT_EQ(state, static_cast<uint32_t>(SteeredTask::Sleep::killable));
}

TEST_F(SteeredTaskTest, WhoIsGoneIsNotWaitedFor) {
  SteeredTask task(guest.kernel(), guest::Task{leader}, Wait::park);
  oracle.answers_at = UINT32_MAX;
  oracle.is_gone = true;
  EXPECT_EQ(call(task, ask()), End::returned);
  EXPECT_EQ(end, WaitEnd::gone);
  EXPECT_TRUE(calls.empty());
}

TEST_F(SteeredTaskTest, ADeadlineEndsAnyKindOfWait) {
  for (const Wait wait : {Wait::park, Wait::yield, Wait::block}) {
    SteeredTask task(guest.kernel(), guest::Task{leader}, wait);
    oracle = {};
    oracle.answers_at = UINT32_MAX;
    EXPECT_EQ(call(task, ask({.deadline = now_ns() + 1'000'000})), End::returned);
    EXPECT_EQ(end, WaitEnd::late);
    EXPECT_LE(oracle.stood_ns, uint64_t{oracle.stands} * 1'000'000) << "no longer than what is left";
  }
}

TEST_F(SteeredTaskTest, TheVcpuStandsOnlyWhereThatIsTheWay) {
  oracle.answers_at = 10;
  SteeredTask blocks(guest.kernel(), guest::Task{leader}, Wait::block);
  EXPECT_EQ(call(blocks, ask()), End::returned);
  EXPECT_EQ(oracle.stands, 9u);
  EXPECT_TRUE(calls.empty());
  oracle = {};
  oracle.answers_at = 10;
  SteeredTask yields(guest.kernel(), guest::Task{leader}, Wait::yield);
  EXPECT_EQ(call(yields, ask()), End::returned);
  EXPECT_EQ(oracle.stands, 0u);
  EXPECT_EQ(count(Symbol::call_yield), 9u);
}

TEST_F(SteeredTaskTest, AnotherCallOfTheFunctionDropsWhatWasLeft) {
  SteeredTask task(guest.kernel(), guest::Task{leader}, Wait::park);
  oracle.answers_at = UINT32_MAX;
  guest.run(vcpu, leader);
  arch::use_frame(vcpu, make_frame());
  engine::Response response;
  task.begin(vcpu, kHooked);
  EXPECT_FALSE(task.start(vcpu, ask()(task), response));
  ASSERT_TRUE(std::holds_alternative<engine::Call>(response));
  EXPECT_TRUE(task.busy());
  // Not the place to which the called function returns: the guest has called the hooked function again.
  EXPECT_FALSE(task.comes_back(vcpu, kHooked));
  oracle = {};
  EXPECT_EQ(call(task, ask()), End::returned);
  EXPECT_EQ(oracle.looks, 1u);
  EXPECT_FALSE(task.busy());
}

TEST_F(SteeredTaskTest, WhatAKernelLacksIsNamed) { EXPECT_EQ(SteeredTask::missing(guest.kernel().profile()), ""); }

}  // namespace
}  // namespace oboro::steer
