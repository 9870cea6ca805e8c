// The life of boots: which kernels are met, and what becomes of them.
#include "tracer/boot_test.h"

namespace oboro::tracer {
namespace {

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
  set_programs(true);  // a program stands at its first instruction
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
  EXPECT_EQ(stops_when_asked, later() ? 0u : 1u) << "who can stop the other vCPUs does so before";
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
  EXPECT_TRUE(engine.ended.ends_with(": BTF is missing"));
  EXPECT_NE(boot->phase(), Phase::untraced);
  engine.ended.clear();
  boot->kernel_announced();
  before_program();
  EXPECT_TRUE(engine.ended.ends_with(": BTF is missing"));
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
  EXPECT_TRUE(engine.ended.ends_with(": its programs ran before its kernel was seen"));
  engine.ended.clear();
  set_programs(true);
  seen_in_kernel();
  EXPECT_EQ(boot->phase(), Phase::starting);
  runs_program();
  EXPECT_EQ(engine.ended, "") << "whether it is too late turns out";
  set_initialised(true);
  seen_in_kernel();
  engine.settle();
  EXPECT_TRUE(engine.ended.ends_with(": its programs ran before it could be traced"));
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

INSTANTIATE_TEST_SUITE_P(Machines, BootTest, kMachines, name_of);

}  // namespace
}  // namespace oboro::tracer
