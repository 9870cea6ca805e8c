// The life of boots, on the fake engine in both its forms: with a machine that stops at once, and one that stops later.
#include "tracer/boot.h"

#include <algorithm>
#include <future>

#include "event/detail.h"
#include "tests/support/engine/fake_engine.h"
#include "tracer/tracer_test.h"

namespace oboro::tracer {
namespace {

using fake::FakeCpu;
using fake::FakeEngine;
using guest::Field;
using Phase = Boot::Phase;
using Code = engine::Placement::Code;
using Stops = FakeEngine::Stops;

class BootTest : public TracerTest, public testing::WithParamInterface<Stops> {
 protected:
  BootTest() : engine(guest.memory, GetParam(), 2), mm(guest.mm(task)) {
    for (unsigned i = 0; i < 2; ++i) guest.run(engine.cpu(i).registers, task);
    set_programs(false);
  }
  ~BootTest() override { stop_supervising(); }
  void stop_supervising() {
    over = true;
    if (supervising.joinable()) supervising.join();
    over = false;
  }
  void begin() {
    stop_supervising();
    make();
    boot = std::make_unique<Boot>(*tracer, engine, engine);
    engine.at_hook = [this](const engine::Hook& hook, FakeCpu& cpu) { boot->at_hook(hook, cpu, cpu); };
    supervising = std::thread([this] { supervise(); });
  }
  void supervise() {
    while (!over) {
      const Result<link::Message> message = link::receive(supervisor.get(), 5);
      if (!message) continue;
      told[message->type()]++;
      if (message->as<link::IdentifyKernel>())
        (void)link::send(supervisor.get(), traceable ? link::Body(link::KernelProfile{true, guest.profile.format()})
                                                     : link::Body(link::Failed{"BTF is missing"}));
      if (message->as<link::Untraceable>())
        (void)link::send(supervisor.get(), goes_on ? link::Body(link::GoOn{}) : link::Body(link::Failed{"no"}));
    }
  }
  unsigned times(link::Type type) {
    stop_supervising();  // all that was said has arrived, and is looked at
    while (const auto message = link::receive(supervisor.get(), 0)) told[message->type()]++;
    const unsigned count = told[type];
    supervising = std::thread([this] { supervise(); });
    return count;
  }

  void set_programs(bool run) { guest.set(task, Field::task_mm, run ? mm : Gva()); }
  void set_initialised(bool is) { guest.write(guest.symbol(Symbol::system_state), uint32_t{is}); }
  void seen_in_kernel(unsigned i = 0) {
    engine.tell(i, [this](FakeCpu& cpu) { boot->in_kernel(cpu); });
  }
  void before_program(unsigned i = 0) {
    engine.tell(i, [this](FakeCpu& cpu) { boot->before_program(cpu); });
  }
  void runs_program() {
    engine.tell(0, [this](FakeCpu& cpu) { boot->runs_program(cpu); });
  }
  void reset(unsigned i = 0) {
    FakeCpu& one = engine.cpu(i);
    arch::set_after_reset(one);
    engine.tell(i, [this](FakeCpu& cpu) { boot->at_reset_vector(cpu); });
    arch::set_kernel_mode(one);
  }
  // Until the hooks are in, and a program runs.
  void start() {
    set_programs(false);
    set_initialised(false);
    seen_in_kernel();
    set_initialised(true);
    seen_in_kernel();
    engine.settle();
    ASSERT_EQ(boot->phase(), Phase::armed);
    set_programs(true);
  }
  bool call(unsigned i, Symbol function, std::initializer_list<uint64_t> arguments = {}) {
    engine.cpu(i).registers.set_arguments(arguments);
    return engine.run(i, guest.symbol(function));
  }
  bool opens_secret(unsigned i = 0) {
    const Gva file = guest.open(secret);
    return call(i, Symbol::fn_file_open, {file.value}) && call(i, Symbol::fn_file_permission, {file.value, 4});
  }
  bool happened(Kind kind) {
    const auto all = events();
    return std::any_of(all.begin(), all.end(), [kind](auto& one) { return one.kind == kind; });
  }
  bool later() const { return GetParam() == Stops::later; }

  FakeEngine engine;
  const Gva mm;
  std::unique_ptr<Boot> boot;
  std::atomic<bool> over{false}, traceable{true}, goes_on{true};
  std::map<link::Type, unsigned> told;
};

TEST_P(BootTest, FromKernelToKernel) {
  begin();
  EXPECT_EQ(boot->phase(), Phase::waiting_for_kernel);
  seen_in_kernel();
  EXPECT_EQ(boot->phase(), Phase::starting);
  seen_in_kernel();
  EXPECT_EQ(boot->phase(), Phase::starting) << "not before its code is final";
  EXPECT_EQ(engine.stops, 0u);
  set_initialised(true);
  seen_in_kernel();
  EXPECT_EQ(boot->changing(), later());
  EXPECT_EQ(boot->phase() == Phase::armed, !later());
  seen_in_kernel(1);  // a change that is to come is not asked for twice
  EXPECT_EQ(engine.settle(), later());
  EXPECT_EQ(boot->phase(), Phase::armed);
  EXPECT_FALSE(boot->changing());
  EXPECT_EQ(engine.stops, 1u);
  EXPECT_EQ(engine.placed(), ring->counters().hooks_armed);
  EXPECT_FALSE(engine.taken_out);
  set_programs(true);
  EXPECT_TRUE(opens_secret());
  EXPECT_EQ(ring->counters().managed_processes, 1u);
  EXPECT_EQ(times(link::Type::IdentifyKernel), 1u);
  EXPECT_EQ(times(link::Type::Armed), 1u);

  reset();
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::waiting_for_kernel);
  EXPECT_EQ(engine.taken_out, Code::is_gone);
  EXPECT_EQ(engine.placed(), 0u);
  EXPECT_EQ(ring->counters().managed_processes, 0u);
  EXPECT_EQ(times(link::Type::Reset), 1u);
  reset();
  EXPECT_FALSE(engine.settle()) << "no boot has begun";

  start();
  EXPECT_TRUE(opens_secret());
  EXPECT_EQ(times(link::Type::IdentifyKernel), 2u);
  EXPECT_EQ(times(link::Type::Armed), 2u);
  EXPECT_EQ(ring->counters().boot, 2u);
  EXPECT_EQ(engine.stops, 3u);
}

TEST_P(BootTest, ArmsBeforeTheFirstProgram) {
  begin();
  before_program();
  EXPECT_EQ(boot->phase(), Phase::waiting_for_kernel) << "a boot loader's, perhaps";
  boot->kernel_announced();
  EXPECT_EQ(boot->phase(), Phase::starting);
  set_programs(true);  // which stands at its first instruction
  before_program();
  before_program(1);
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::armed);
  EXPECT_EQ(engine.stops, 1u);
  boot->kernel_announced();
  before_program();
  EXPECT_EQ(boot->phase(), Phase::armed);
  EXPECT_FALSE(engine.settle());
  EXPECT_EQ(times(link::Type::IdentifyKernel), 1u);
}

TEST_P(BootTest, WhatCannotBeTracedRunsOnUntilTheNextBootIfThatIsWanted) {
  begin();
  traceable = false;
  boot->kernel_announced();
  before_program();
  EXPECT_EQ(times(link::Type::Untraceable), 1u);
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::untraced);
  EXPECT_EQ(engine.placed(), 0u);
  EXPECT_EQ(engine.ended, "");
  seen_in_kernel();
  before_program();
  runs_program();
  EXPECT_FALSE(engine.settle());
  EXPECT_EQ(times(link::Type::Untraceable), 1u) << "asked once";
  reset();
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::waiting_for_kernel);
  traceable = true;
  start();
  EXPECT_TRUE(opens_secret());
}

TEST_P(BootTest, WhatCannotBeTracedDoesNotRunOnWithoutTheSupervisorsWord) {
  goes_on = false;
  traceable = false;
  begin();
  seen_in_kernel();
  EXPECT_EQ(engine.ended, "BTF is missing");
  EXPECT_NE(boot->phase(), Phase::untraced);
  engine.ended.clear();
  boot->kernel_announced();
  before_program();
  EXPECT_EQ(engine.ended, "BTF is missing");
  EXPECT_NE(boot->phase(), Phase::untraced);
  EXPECT_EQ(engine.placed(), 0u);
}

TEST_P(BootTest, WhereNoKernelIsYetNobodyIsAsked) {
  begin();
  arch::set_tables(engine.cpu(0), {guest.allocate().value - fake::kDirectMap.value});
  seen_in_kernel();
  EXPECT_EQ(boot->phase(), Phase::waiting_for_kernel);
  EXPECT_EQ(times(link::Type::Untraceable), 0u);
}

TEST_P(BootTest, ProgramsThatRanBeforeAreTooLate) {
  goes_on = false;
  begin();
  runs_program();
  EXPECT_EQ(engine.ended, "its programs ran before its kernel was seen");
  engine.ended.clear();
  set_programs(true);
  seen_in_kernel();
  EXPECT_EQ(boot->phase(), Phase::starting);
  runs_program();
  EXPECT_EQ(engine.ended, "") << "whether it is too late turns out";
  set_initialised(true);
  seen_in_kernel();
  engine.settle();
  EXPECT_EQ(engine.ended, "its programs ran before it could be traced");
  EXPECT_EQ(engine.placed(), 0u);
  EXPECT_NE(boot->phase(), Phase::armed);
}

TEST_P(BootTest, ProgramsThatRanBeforeGoOnIfThatIsWanted) {
  begin();
  set_programs(true);
  seen_in_kernel();
  set_initialised(true);
  seen_in_kernel();
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::untraced);
  EXPECT_EQ(engine.placed(), 0u);
  EXPECT_FALSE(boot->changing());
  EXPECT_EQ(times(link::Type::Untraceable), 1u);
}

TEST_P(BootTest, AKernelThatWasOnlyOnTheWayToAnother) {
  begin();
  seen_in_kernel();
  guest.write(guest.symbol(Symbol::linux_banner), uint64_t{0x7878787878787878});
  set_initialised(true);
  seen_in_kernel();
  EXPECT_EQ(boot->phase(), Phase::starting);
  EXPECT_EQ(engine.placed(), 0u);
  EXPECT_EQ(times(link::Type::IdentifyKernel), 2u);
  seen_in_kernel();
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::armed);
}

TEST_P(BootTest, AResetIsTheFirstVcpusAndInRealMode) {
  begin();
  start();
  reset(1);
  EXPECT_FALSE(boot->changing());
  engine.tell(0, [this](FakeCpu& cpu) { boot->at_reset_vector(cpu); });  // a program that stands at that address
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::armed);
}

TEST_P(BootTest, AResetGoesBeforeAChangeThatIsToCome) {
  if (!later()) GTEST_SKIP() << "there is no such change";
  begin();
  seen_in_kernel();
  set_initialised(true);
  seen_in_kernel();
  EXPECT_TRUE(boot->changing());
  reset();
  EXPECT_TRUE(engine.settle());
  EXPECT_EQ(boot->phase(), Phase::waiting_for_kernel);
  EXPECT_EQ(engine.placed(), 0u);
  EXPECT_EQ(times(link::Type::Armed), 0u);
  EXPECT_EQ(times(link::Type::Reset), 1u);
  EXPECT_FALSE(engine.settle());
  start();

  call(0, Symbol::fn_machine_kexec);
  reset();
  call(1, Symbol::fn_machine_kexec);
  EXPECT_EQ(boot->phase(), Phase::armed);
  engine.settle();
  EXPECT_EQ(engine.taken_out, Code::is_gone) << "its memory must not be written to";
  EXPECT_EQ(times(link::Type::Reset), 2u);
  start();

  EXPECT_EQ(boot->let_go("asked for", false), "");
  reset();
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::untraced) << "that is not for one boot alone";
  EXPECT_EQ(times(link::Type::Reset), 3u);
  EXPECT_EQ(times(link::Type::Detached), 1u);
}

TEST_P(BootTest, AKexecWaitsForWhoIsAtAHook) {
  begin();
  start();
  engine.cpu(1).hold();
  auto other = std::async(std::launch::async, [this] { return opens_secret(1); });
  engine.cpu(1).wait_until_held();
  auto kexec = std::async(std::launch::async, [this] {
    call(0, Symbol::fn_machine_kexec);
    engine.settle();
  });
  EXPECT_EQ(kexec.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  EXPECT_EQ(boot->phase(), Phase::armed);
  EXPECT_GT(engine.placed(), 0u);
  engine.cpu(1).release();
  kexec.get();
  EXPECT_FALSE(other.get()) << "of its two calls the second is not hooked any more";
  EXPECT_EQ(boot->phase(), Phase::waiting_for_kernel);
  EXPECT_EQ(engine.taken_out, Code::ends);
  EXPECT_EQ(engine.placed(), 0u);
  EXPECT_EQ(times(link::Type::Reset), 1u);
  start();
}

// Each waits for the other to leave its hook, but only one can.
TEST_P(BootTest, TwoThatEndTheBootDoNotWaitForEachOther) {
  begin();
  start();
  engine.cpu(1).hold();
  auto second = std::async(std::launch::async, [this] { call(1, Symbol::fn_machine_kexec); });
  engine.cpu(1).wait_until_held();
  auto first = std::async(std::launch::async, [this] { call(0, Symbol::fn_machine_kexec); });
  first.wait_for(std::chrono::milliseconds(50));
  engine.cpu(1).release();
  first.get();
  second.get();
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::waiting_for_kernel);
  EXPECT_EQ(times(link::Type::Reset), 1u);
}

TEST_P(BootTest, AnswersTheVcpu) {
  settings.policy.leak = policy::Verdict::deny;
  begin();
  start();
  ASSERT_TRUE(opens_secret());
  // The page tables lead to nothing but the kernel's image.
  const Gva stack = fake::kImageBase + 0x3000, caller = fake::kImageBase + 0x2000;
  guest.write(stack, caller);
  const Gva sock = guest.udp(fake::endpoint("10.0.2.15", 50000)),
            message = guest.message_to(fake::endpoint("192.0.2.1", 53));
  FakeCpu& cpu = engine.cpu(0);
  const auto send = [&] { return call(0, Symbol::fn_socket_sendmsg, {guest.socket(sock).value, message.value, 1}); };
  const arch::CallFrame frame{stack};
  arch::use_frame(cpu, frame);
  EXPECT_TRUE(send());
  EXPECT_EQ(arch::program_counter(cpu), caller);
  EXPECT_EQ(static_cast<int64_t>(arch::result(cpu)), -EPERM);
  EXPECT_TRUE(arch::has_returned(cpu, frame));
  events();
  arch::use_frame(cpu, {Gva(8)});  // nothing is there
  EXPECT_TRUE(send());
  EXPECT_EQ(arch::program_counter(cpu), guest.symbol(Symbol::fn_socket_sendmsg));
  EXPECT_TRUE(happened(Kind::incomplete));
}

TEST_P(BootTest, AHookThatCannotBePlacedIsReportedAndNothingLeavesIfThatIsDenied) {
  for (const bool deny : {false, true}) {
    settings.policy.leak = deny ? policy::Verdict::deny : policy::Verdict::alert;
    begin();
    engine.cannot_place = {guest.symbol(Symbol::fn_do_tee).value};
    start();
    EXPECT_FALSE(call(0, Symbol::fn_do_tee));
    EXPECT_EQ(engine.placed(), ring->counters().hooks_armed);
    const auto reported = events();
    EXPECT_TRUE(std::any_of(reported.begin(), reported.end(),
                            [](auto& one) { return one.kind == Kind::incomplete && event::detail(one) == "tee"; }));
    const Gva sock = guest.udp(fake::endpoint("10.0.2.15", 50000)),
              message = guest.message_to(fake::endpoint("192.0.2.1", 53));
    EXPECT_TRUE(call(0, Symbol::fn_socket_sendmsg, {guest.socket(sock).value, message.value, 1}));
    EXPECT_EQ(happened(Kind::refused), deny);
    reset();
    engine.settle();
  }
}

TEST_P(BootTest, AFilterIsToldAsLongAsTheHooksAreIn) {
  engine.filters = true;
  begin();
  start();
  EXPECT_TRUE(opens_secret());
  EXPECT_FALSE(engine.filter.empty());
  EXPECT_GT(engine.placed(), ring->counters().hooks_armed - 1) << "those that only a filter needs are in";
  reset();
  engine.settle();
  EXPECT_TRUE(engine.filter.empty());
  engine.filters = false;
  start();
  EXPECT_TRUE(opens_secret());
  EXPECT_TRUE(engine.filter.empty()) << "told of a boot that it has no part in";
}

TEST_P(BootTest, WhereOnlyFewCanBeWatchedThoseAreTheEssentialOnes) {
  engine.only_few = true;
  begin();
  start();
  EXPECT_EQ(engine.placed(), hooks::essential_functions().size());
  for (const Symbol function : hooks::essential_functions()) EXPECT_TRUE(engine.is_placed(guest.symbol(function)));
  EXPECT_TRUE(happened(Kind::incomplete));
  // Nobody saw it being opened.
  EXPECT_TRUE(call(0, Symbol::fn_file_permission, {guest.open(secret).value, 4}));
  EXPECT_EQ(ring->counters().managed_processes, 1u);
}

TEST_P(BootTest, LetsTheGuestGoForGood) {
  begin();
  start();
  unsigned looks = 0;
  boot->while_armed([&] { ++looks; });
  EXPECT_EQ(looks, 1u);
  EXPECT_EQ(boot->let_go("asked for", false), "");
  EXPECT_EQ(boot->phase() == Phase::untraced, !later());
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::untraced);
  EXPECT_EQ(engine.taken_out, Code::goes_on);
  EXPECT_EQ(engine.placed(), 0u);
  EXPECT_EQ(times(link::Type::Detached), 1u);
  EXPECT_FALSE(opens_secret());
  boot->while_armed([&] { ++looks; });
  EXPECT_EQ(looks, 1u);
  reset();
  seen_in_kernel();
  EXPECT_FALSE(engine.settle());
  EXPECT_EQ(boot->phase(), Phase::untraced);
  EXPECT_EQ(boot->let_go("again", false), "");
  EXPECT_FALSE(engine.settle());
  EXPECT_EQ(times(link::Type::Detached), 1u);
}

TEST_P(BootTest, LetsAGuestGoThatIsNotTracedYet) {
  begin();
  unsigned looks = 0;
  seen_in_kernel();
  boot->while_armed([&] { ++looks; });
  EXPECT_EQ(looks, 0u);
  EXPECT_EQ(boot->let_go("asked for", false), "");
  engine.settle();
  EXPECT_EQ(boot->phase(), Phase::untraced);
  set_initialised(true);
  seen_in_kernel();
  EXPECT_FALSE(engine.settle());
  EXPECT_EQ(times(link::Type::Detached), 1u);
}

INSTANTIATE_TEST_SUITE_P(Machines, BootTest, testing::Values(Stops::at_once, Stops::later),
                         [](const auto& one) { return one.param == Stops::later ? "StopLater" : "StopAtOnce"; });

}  // namespace
}  // namespace oboro::tracer
