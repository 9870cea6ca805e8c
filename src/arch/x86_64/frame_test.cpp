// Which value is in which register, and where on the stack. engine/response_test.cpp tests what is done with that.

#include "arch/x86_64/frame.h"

#include <gtest/gtest.h>

#include "arch/x86_64/boot.h"
#include "tests/support/arch/fake_registers.h"

namespace oboro::arch {
namespace {

constexpr uint64_t kStack = 0x8000, kReturn = 0xffffffff81000010;

struct Cpu : fake::FakeRegisters {
  Cpu() {
    registers = {{Reg::rax, 77}, {Reg::rsp, kStack}, {Reg::rdi, 1}, {Reg::rsi, 2},
                 {Reg::rdx, 3},  {Reg::rcx, 4},      {Reg::r8, 5},  {Reg::r9, 6}};
    memory = {{kStack, kReturn}};
  }
};

TEST(CallFrame, ArgumentsAndResult) {
  Cpu cpu;
  for (size_t i = 0; i < kArgumentCount; ++i) EXPECT_EQ(argument(cpu, i), i + 1);
  EXPECT_EQ(result(cpu), 77u);
  set_argument(cpu, 3, 40);
  EXPECT_EQ(cpu.registers[Reg::rcx], 40u);
}

TEST(CallFrame, ReturnsAsRetDoes) {
  Cpu cpu;
  const CallFrame frame = call_frame(cpu);
  EXPECT_FALSE(has_returned(cpu, frame));
  EXPECT_TRUE(return_from(cpu, frame, UINT64_MAX));
  EXPECT_EQ(cpu.registers[Reg::rax], UINT64_MAX);
  EXPECT_EQ(cpu.registers[Reg::rsp], kStack + 8);
  EXPECT_EQ(cpu.at, kReturn);
  EXPECT_TRUE(has_returned(cpu, frame));
}

TEST(CallFrame, WhatCannotReturnIsLeftAsItIs) {
  Cpu cpu;
  cpu.memory.clear();
  const auto before = cpu.registers;
  EXPECT_FALSE(return_from(cpu, call_frame(cpu), 1));
  EXPECT_EQ(cpu.registers, before);
  EXPECT_FALSE(cpu.at);
}

TEST(CallFrame, AFrameThatIsMadeReturnsWhereItWasTold) {
  Cpu cpu;
  const CallFrame frame =
      make_frame(Gva(kStack - 144), Gva(0x1234), [&](Gva at, uint64_t word) { cpu.memory[at.value] = word; });
  EXPECT_EQ(cpu.memory[kStack - 144], 0x1234u) << "on the stack, as CALL leaves it";
  use_frame(cpu, frame);
  EXPECT_EQ(cpu.registers[Reg::rsp], kStack - 144);
  EXPECT_TRUE(return_from(cpu, frame, 0));
  EXPECT_EQ(cpu.at, 0x1234u);
}

TEST(Mode, AResetIsRealModeAtItsSelector) {
  Cpu cpu;
  cpu.registers[Reg::cs] = 0xf000;
  EXPECT_TRUE(was_reset(cpu));
  EXPECT_FALSE(in_user_mode(cpu));
  cpu.registers[Reg::cr0] = 0x80050033;
  EXPECT_FALSE(was_reset(cpu));
  cpu.registers[Reg::cr0] = 0;
  cpu.registers[Reg::cs] = 0x33;
  EXPECT_FALSE(was_reset(cpu)) << "a program that has a page there";
  EXPECT_TRUE(in_user_mode(cpu));
}

TEST(Mode, AKernelAnnouncesItselfByWrmsrToLstar) {
  const uint8_t wrmsr[] = {0x0f, 0x30}, other[] = {0x0f, 0x31}, longer[] = {0x0f, 0x30, 0x90};
  EXPECT_TRUE(may_set_system_call_entry(wrmsr));
  EXPECT_FALSE(may_set_system_call_entry(other));
  EXPECT_FALSE(may_set_system_call_entry(longer));
  Cpu cpu;
  cpu.registers[Reg::rcx] = 0xffffffffc0000082;  // ECX is what counts
  EXPECT_TRUE(sets_system_call_entry(cpu));
  cpu.registers[Reg::rcx] = 0xc0000081;
  EXPECT_FALSE(sets_system_call_entry(cpu));
}

}  // namespace
}  // namespace oboro::arch
