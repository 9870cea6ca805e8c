#include "engine/response.h"

#include <gtest/gtest.h>
#include <vector>

#include "tests/support/arch/fake_registers.h"

namespace oboro::engine {
namespace {

// A vCPU at the first instruction of a function that was called with 1, 2, 3, 4, 5, from kReturn.
struct Cpu : fake::FakeRegisters {
  static constexpr uint64_t kReturn = 0xffffffff81000010;
  static constexpr Gva kStack{0x8000};

  Cpu() {
    for (size_t i = 0; i < 5; ++i) arch::set_argument(*this, i, i + 1);
    frame = make_frame(kStack, kReturn);
    arch::use_frame(*this, frame);
    writes = 0;
  }
  void set(arch::Reg reg, uint64_t value) {
    EXPECT_FALSE(at) << "the program counter comes last";
    FakeRegisters::set(reg, value);
    ++writes;
  }
  arch::CallFrame make_frame(Gva stack, uint64_t back) {
    return arch::make_frame(stack, Gva(back), [this](Gva where, uint64_t word) { memory[where.value] = word; });
  }
  std::vector<uint64_t> arguments() {
    std::vector<uint64_t> all;
    for (size_t i = 0; i < 5; ++i) all.push_back(arch::argument(*this, i));
    return all;
  }

  arch::CallFrame frame{};
  unsigned writes = 0;  // of registers, since it is there
};

using Arguments = std::vector<uint64_t>;

TEST(ResponseTest, GoingOnChangesNothing) {
  Cpu cpu;
  EXPECT_TRUE(apply({}, cpu));
  EXPECT_TRUE(apply(GoOn{}, cpu));
  EXPECT_EQ(cpu.writes, 0u);
  EXPECT_FALSE(cpu.at);
}

TEST(ResponseTest, AReturnIsTheFunctionsOwn) {
  for (const int64_t value : {-1, -13, 0, 1}) {
    Cpu cpu;
    EXPECT_TRUE(apply(Return{value, {}}, cpu));
    EXPECT_EQ(arch::result(cpu), static_cast<uint64_t>(value));
    EXPECT_TRUE(arch::has_returned(cpu, cpu.frame));
    EXPECT_EQ(cpu.arguments(), (Arguments{1, 2, 3, 4, 5}));
    EXPECT_EQ(cpu.at, Cpu::kReturn);
  }
}

TEST(ResponseTest, AReturnFromAFrameThatIsNotInUse) {
  Cpu cpu;
  const arch::CallFrame other = cpu.make_frame(Gva(0x9000), Cpu::kReturn + 16);
  EXPECT_TRUE(apply(Return{1, RunAs{other, {}}}, cpu));
  EXPECT_TRUE(arch::has_returned(cpu, other));
  EXPECT_FALSE(arch::has_returned(cpu, cpu.frame));
  EXPECT_EQ(cpu.at, Cpu::kReturn + 16);
}

TEST(ResponseTest, WithoutAReturnAddressTheFunctionRuns) {
  Cpu cpu;
  cpu.memory.clear();
  EXPECT_FALSE(apply(Return{-1, {}}, cpu));
  EXPECT_EQ(cpu.writes, 0u);
  EXPECT_FALSE(cpu.at);
}

// After a Call neither the frame nor the arguments are what they were.
TEST(ResponseTest, WithoutAReturnAddressTheFunctionRunsAsItWasCalled) {
  Cpu cpu;
  const arch::CallFrame called = cpu.frame;
  arch::use_frame(cpu, cpu.make_frame(Gva(0x7000), 0x2000));
  for (size_t i = 0; i < 4; ++i) arch::set_argument(cpu, i, 99);
  cpu.memory.clear();
  EXPECT_FALSE(apply(Return{-1, RunAs{called, {1, 2, 3, 4}}}, cpu));
  EXPECT_EQ(arch::call_frame(cpu).stack, Cpu::kStack);
  EXPECT_EQ(cpu.arguments(), (Arguments{1, 2, 3, 4, 5}));
  EXPECT_FALSE(cpu.at);
}

TEST(ResponseTest, ACallHasItsArgumentsAndNoMore) {
  Cpu cpu;
  const arch::CallFrame called = cpu.make_frame(Gva(0x7000), 0x2000);
  EXPECT_TRUE(apply(Call{Gva(0x1000), called, {21, 22, 23, 24}, 2}, cpu));
  EXPECT_EQ(cpu.at, 0x1000u);
  EXPECT_EQ(arch::call_frame(cpu).stack, Gva(0x7000));
  EXPECT_EQ(cpu.arguments(), (Arguments{21, 22, 3, 4, 5}));
}

TEST(ResponseTest, NoArgumentIsSetThatIsNotThere) {
  Cpu cpu;
  EXPECT_TRUE(apply(Call{Gva(0x1000), cpu.frame, {21, 22, 23, 24}, 6}, cpu));
  EXPECT_EQ(cpu.arguments(), (Arguments{21, 22, 23, 24, 5}));
}

TEST(ResponseTest, AnAddressOfZeroIsAnAddress) {
  Cpu called, returned;
  EXPECT_TRUE(apply(Call{Gva(), called.frame, {}, 0}, called));
  EXPECT_EQ(called.at, 0u);
  EXPECT_TRUE(apply(Return{0, RunAs{returned.make_frame(Cpu::kStack, 0), {}}}, returned));
  EXPECT_EQ(returned.at, 0u);
}

TEST(ResponseTest, TheFunctionRunsAsItWasCalled) {
  Cpu cpu;
  const arch::CallFrame called = cpu.make_frame(Gva(0x7000), 0x2000);
  EXPECT_TRUE(apply(RunAs{called, {21, 22, 23, 24}}, cpu));
  EXPECT_FALSE(cpu.at);
  EXPECT_EQ(arch::call_frame(cpu).stack, Gva(0x7000));
  EXPECT_EQ(cpu.arguments(), (Arguments{21, 22, 23, 24, 5}));
}

}  // namespace
}  // namespace oboro::engine
