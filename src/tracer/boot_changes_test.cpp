// Changes that come together, or while a vCPU is at a hook; and the hooks themselves, as far as the engine could place
// them.
#include <future>

#include "event/detail.h"
#include "tracer/boot_test.h"

namespace oboro::tracer {
namespace {

class ChangesTest : public BootTest {};
class HooksTest : public BootTest {};

TEST_P(ChangesTest, AResetGoesBeforeAChangeThatIsToCome) {
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

TEST_P(ChangesTest, AKexecWaitsForWhoIsAtAHook) {
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

// Each of the two waits for the other to leave its hook. Only one can go first.
TEST_P(ChangesTest, TwoThatEndTheBootDoNotWaitForEachOther) {
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

TEST_P(ChangesTest, NoneIsMadeWhileSomebodyLooksAtTheHooks) {
  begin();
  start();
  if (later()) reset();
  std::future<void> end;
  boot->while_armed([&] {
    end = std::async(std::launch::async, [this] {
      if (!later()) reset();
      engine.settle();
    });
    EXPECT_EQ(end.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
    EXPECT_GT(engine.placed(), 0u);
  });
  ASSERT_TRUE(end.valid());
  end.get();
  EXPECT_EQ(boot->phase(), Phase::waiting_for_kernel);
}

TEST_P(ChangesTest, LetsTheGuestGoForGood) {
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

TEST_P(ChangesTest, LetsAGuestGoThatIsNotTracedYet) {
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

TEST_P(HooksTest, AnswersTheVcpu) {
  settings.policy.leak = policy::Verdict::deny;
  begin();
  start();
  ASSERT_TRUE(opens_secret());
  // These page tables lead to the kernel's image and to nothing else.
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
  arch::use_frame(cpu, {Gva(8)});  // no memory is there
  EXPECT_TRUE(send());
  EXPECT_EQ(arch::program_counter(cpu), guest.symbol(Symbol::fn_socket_sendmsg));
  EXPECT_TRUE(happened(Kind::incomplete));
}

TEST_P(HooksTest, AHookThatCannotBePlacedIsReportedAndNothingLeavesIfThatIsDenied) {
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

TEST_P(HooksTest, AFilterIsToldAsLongAsTheHooksAreIn) {
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

TEST_P(HooksTest, WhereOnlyFewCanBeWatchedThoseAreTheEssentialOnes) {
  engine.only_few = true;
  begin();
  start();
  EXPECT_EQ(engine.placed(), hooks::essential_functions().size());
  for (const Symbol function : hooks::essential_functions()) EXPECT_TRUE(engine.is_placed(guest.symbol(function)));
  EXPECT_TRUE(happened(Kind::incomplete));
  // Nobody saw that the file was opened.
  EXPECT_TRUE(call(0, Symbol::fn_file_permission, {guest.open(secret).value, 4}));
  EXPECT_EQ(ring->counters().managed_processes, 1u);
}

INSTANTIATE_TEST_SUITE_P(Machines, ChangesTest, kMachines, name_of);
INSTANTIATE_TEST_SUITE_P(Machines, HooksTest, kMachines, name_of);

}  // namespace
}  // namespace oboro::tracer
