#include "engine/response.h"

#include <gtest/gtest.h>
#include <map>
#include <optional>
#include <utility>

namespace oboro::engine {
namespace {

using arch::Reg;

// At the first instruction of a function that was called with 1, 2, 3, 4; its return address is on the stack.
struct Cpu {
  static constexpr uint64_t kStack = 0x8000, kReturn = 0xffffffff81000010;

  uint64_t reg(Reg reg) { return registers[reg]; }
  void set(Reg reg, uint64_t value) {
    EXPECT_FALSE(at) << "the program counter comes last";
    registers[reg] = value;
  }
  bool read_word(Gva where, uint64_t& out) {
    const auto found = memory.find(where.value);
    if (found == memory.end()) return false;
    out = found->second;
    return true;
  }
  void go_to(Gva where) { at = where.value; }

  std::map<Reg, uint64_t> registers{{Reg::rax, 77}, {Reg::rsp, kStack}, {Reg::rdi, 1}, {Reg::rsi, 2},
                                    {Reg::rdx, 3},  {Reg::rcx, 4},      {Reg::r8, 5}};
  std::map<uint64_t, uint64_t> memory{{kStack, kReturn}};
  std::optional<uint64_t> at;  // where it was sent; nothing: it goes on where it is
};

TEST(ResponseTest, GoingOnChangesNothing) {
  Cpu cpu;
  const auto before = cpu.registers;
  EXPECT_TRUE(apply({}, cpu));
  EXPECT_TRUE(apply(GoOn{}, cpu));
  EXPECT_EQ(cpu.registers, before);
  EXPECT_FALSE(cpu.at);
}

TEST(ResponseTest, AReturnIsTheFunctionsOwn) {
  for (const int64_t value : {-1, -13, 0, 1}) {
    Cpu cpu;
    EXPECT_TRUE(apply(Return{value, {}}, cpu));
    EXPECT_EQ(cpu.registers[Reg::rax], static_cast<uint64_t>(value));
    EXPECT_EQ(cpu.registers[Reg::rsp], Cpu::kStack + 8);
    EXPECT_EQ(cpu.registers[Reg::rdi], 1u);
    EXPECT_EQ(cpu.at, Cpu::kReturn);
  }
}

TEST(ResponseTest, AReturnFromAStackThatIsNotInUse) {
  Cpu cpu;
  cpu.memory[0x9000] = Cpu::kReturn + 16;
  EXPECT_TRUE(apply(Return{1, Gva(0x9000)}, cpu));
  EXPECT_EQ(cpu.registers[Reg::rsp], 0x9008u);
  EXPECT_EQ(cpu.at, Cpu::kReturn + 16);
}

TEST(ResponseTest, WithoutAReturnAddressTheFunctionRuns) {
  Cpu cpu;
  cpu.memory.clear();
  const auto before = cpu.registers;
  EXPECT_FALSE(apply(Return{-1, {}}, cpu));
  EXPECT_EQ(cpu.registers, before);
  EXPECT_FALSE(cpu.at);
}

TEST(ResponseTest, ACallHasItsArgumentsAndNoMore) {
  Cpu cpu;
  EXPECT_TRUE(apply(Call{Gva(0x1000), Gva(0x7000), {21, 22, 23, 24}, 2}, cpu));
  EXPECT_EQ(cpu.at, 0x1000u);
  EXPECT_EQ(cpu.registers[Reg::rsp], 0x7000u);
  EXPECT_EQ(cpu.registers[Reg::rdi], 21u);
  EXPECT_EQ(cpu.registers[Reg::rsi], 22u);
  EXPECT_EQ(cpu.registers[Reg::rdx], 3u);
  EXPECT_EQ(cpu.registers[Reg::rcx], 4u);
  EXPECT_EQ(cpu.registers[Reg::rax], 77u);
}

TEST(ResponseTest, NoArgumentIsSetThatIsNotThere) {
  Cpu cpu;
  EXPECT_TRUE(apply(Call{Gva(0x1000), Gva(0x7000), {21, 22, 23, 24}, 6}, cpu));
  EXPECT_EQ(cpu.registers[Reg::rcx], 24u);
  EXPECT_EQ(cpu.registers[Reg::r8], 5u);
}

TEST(ResponseTest, AnAddressOfZeroIsAnAddress) {
  Cpu called, returned;
  EXPECT_TRUE(apply(Call{Gva(), Gva(0x7000), {}, 0}, called));
  EXPECT_EQ(called.at, 0u);
  returned.memory[Cpu::kStack] = 0;
  EXPECT_TRUE(apply(Return{0, {}}, returned));
  EXPECT_EQ(returned.at, 0u);
}

TEST(ResponseTest, TheFunctionRunsAsItWasCalled) {
  Cpu cpu;
  EXPECT_TRUE(apply(RunAs{Gva(0x7000), {21, 22, 23, 24}}, cpu));
  EXPECT_FALSE(cpu.at);
  EXPECT_EQ(cpu.registers[Reg::rsp], 0x7000u);
  EXPECT_EQ(cpu.registers[Reg::rdi], 21u);
  EXPECT_EQ(cpu.registers[Reg::rcx], 24u);
  EXPECT_EQ(cpu.registers[Reg::r8], 5u);
}

}  // namespace
}  // namespace oboro::engine
