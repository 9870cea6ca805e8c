// A denying run: once the result is incomplete, for whatever reason, nothing leaves the guest.
#include "event/detail.h"
#include "tracer/tracer_test.h"

namespace oboro::tracer {
namespace {

class DenyingTracerTest : public TracerTest {
 protected:
  // An unmanaged process sends to the outside. Whether that goes through.
  bool sends() {
    const Gva sock = guest.udp(fake::endpoint("10.0.2.15", 50000)),
              message = guest.message_to(fake::endpoint("192.0.2.1", 53));
    vcpu.set_arguments({guest.socket(sock).value, message.value, 1});
    for (const hooks::HookPoint& point : hooks::hook_points())
      if (point.function == Symbol::fn_socket_sendmsg)
        return std::holds_alternative<engine::GoOn>(tracer->hook(point, vcpu));
    return false;
  }
};

TEST_F(DenyingTracerTest, NothingLeavesOnceTheResultIsIncomplete) {
  for (const bool deny : {true, false}) {
    settings.policy.leak = deny ? policy::Verdict::deny : policy::Verdict::alert;
    make();
    ASSERT_TRUE(arm());
    EXPECT_TRUE(sends());
    hook(Symbol::fn_d_delete, {1});
    EXPECT_EQ(sends(), !deny);
    const auto told = events();
    ASSERT_EQ(told.size(), deny ? 2u : 1u);
    EXPECT_EQ(told[0].kind, Kind::incomplete);
    EXPECT_EQ(told[0].verdict, deny ? event::Verdict::deny : event::Verdict::allow);
    if (!deny) return;
    EXPECT_EQ(told[1].kind, Kind::refused);
    EXPECT_EQ(event::detail(told[1]), "refused because the result is incomplete: " + event::detail(told[0]));
    // Labels that a file should have had are missing in the next boot, too.
    tracer->boot_ended("reset");
    (void)link::receive(supervisor.get(), 1000);
    asked.clear();
    ASSERT_TRUE(arm());
    EXPECT_FALSE(sends());
  }
}

TEST_F(DenyingTracerTest, AFunctionThatTheKernelLacksCountsToo) {
  fake::set_missing(guest.profile, Symbol::fn_do_tee);
  settings.policy.leak = policy::Verdict::deny;
  make();
  ASSERT_TRUE(arm());
  EXPECT_FALSE(sends());
}

TEST_F(DenyingTracerTest, MoreKnownFilesThanThereIsRoomForCountToo) {
  settings.policy.leak = policy::Verdict::deny;
  settings.capacity = 16;
  for (uint64_t i = 0; i < 17; ++i) settings.files.push_back({{.uuid = {1}, .inode = 100 + i}, 1, 1 + i});
  make();
  ASSERT_TRUE(arm());
  EXPECT_FALSE(sends());
}

TEST_F(DenyingTracerTest, AFullTableIsATroubleOfItsOwn) {
  settings.capacity = 16;
  for (uint64_t i = 0; i < 17; ++i) settings.files.push_back({{.uuid = {1}, .inode = 100 + i}, 1, 1 + i});
  settings.policy.on(policy::Trouble::full_table) = policy::Reaction::deny;
  make();
  ASSERT_TRUE(arm());
  EXPECT_FALSE(sends());
}

TEST_F(DenyingTracerTest, AnOperatorMayLetItGoOn) {
  settings.policy.leak = policy::Verdict::deny;
  make();
  ASSERT_TRUE(arm());
  hook(Symbol::fn_d_delete, {1});
  EXPECT_FALSE(sends());
  tracer->go_on();
  EXPECT_TRUE(sends());
  hook(Symbol::fn_d_delete, {1});
  EXPECT_TRUE(sends()) << "that was known";
  tracer->unseen("something else");
  EXPECT_FALSE(sends());
  tracer->commanded({"resume", 1000, "alice"});
  const auto told = events();
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back().kind, Kind::command);
  EXPECT_EQ(event::detail(told.back()), "resume, by alice (UID 1000)");
}

TEST_F(DenyingTracerTest, NothingLeavesWhileItCannotBeWrittenDown) {
  settings.policy.on(policy::Trouble::journal) = policy::Reaction::deny;
  make();
  ASSERT_TRUE(arm());
  tracer->journal_is(false);
  EXPECT_FALSE(sends());
  tracer->journal_is(true);
  EXPECT_TRUE(sends());
  const auto told = events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(event::detail(told[0]), "refused because the journal cannot be written");
}

TEST_F(DenyingTracerTest, NothingLeavesWithoutASupervisor) {
  settings.policy.on(policy::Trouble::supervisor_loss) = policy::Reaction::deny;
  make();
  ASSERT_TRUE(arm());
  EXPECT_TRUE(sends());
  tracer->supervisor_is_lost();
  EXPECT_FALSE(sends());
}

TEST_F(DenyingTracerTest, WhereTheMachineIsToStandStillTheSupervisorIsTold) {
  settings.policy.on(policy::Trouble::incomplete) = policy::Reaction::pause;
  make();
  ASSERT_TRUE(arm());
  (void)link::receive(supervisor.get(), 0);
  hook(Symbol::fn_d_delete, {1});
  EXPECT_FALSE(sends()) << "until it does";
  const auto doubt = link::receive(supervisor.get(), 1000);
  ASSERT_TRUE(doubt && doubt->as<link::Doubt>());
  EXPECT_FALSE(doubt->as<link::Doubt>()->why.empty());
  hook(Symbol::fn_d_delete, {1});
  EXPECT_FALSE(link::receive(supervisor.get(), 0)) << "once";
}

TEST_F(DenyingTracerTest, ALostRecordCountsToo) {
  settings.policy.leak = policy::Verdict::deny;
  make(1 << 12);
  ASSERT_TRUE(arm());
  while (ring->counters().lost == 0) {
    EXPECT_TRUE(sends());
    tracer->boot_ended(std::string(200, 'x'));  // the next boot follows at once
    if (ring->counters().lost == 0) {
      (void)link::receive(supervisor.get(), 1000);
      asked.clear();
      ASSERT_TRUE(arm());
    }
  }
  events();
  (void)link::receive(supervisor.get(), 1000);
  asked.clear();
  ASSERT_TRUE(arm());
  EXPECT_FALSE(sends());
  tracer->boot_ended("room again");
  const auto told = events();
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[0].kind, Kind::lost);
  EXPECT_EQ(told[0].verdict, event::Verdict::deny);
  EXPECT_EQ(told[1].kind, Kind::refused);
  EXPECT_EQ(event::detail(told[1]), "refused because the result is incomplete: records were lost");
}

}  // namespace
}  // namespace oboro::tracer
