#include "arch/x86_64/system_calls.h"

#include <gtest/gtest.h>

#include "arch/x86_64/user_registers.h"

namespace oboro::arch {
namespace {

TEST(SystemCalls, ByNumberAndByName) {
  EXPECT_EQ(uint64_t{sys::read}, 0u);
  EXPECT_EQ(uint64_t{sys::openat}, 257u);
  EXPECT_EQ(system_call_name(sys::openat), "openat");
  EXPECT_EQ(system_call_name(256), "migrate_pages");
  EXPECT_EQ(system_call_name(335), "") << "a gap";
  EXPECT_EQ(system_call_name(kSystemCallCount), "");
  EXPECT_EQ(system_call_name(UINT64_MAX), "");
}

// Whichever headers it was built with.
TEST(SystemCalls, LaterOnesAreKnown) {
  EXPECT_EQ(uint64_t{sys::quotactl_fd}, 443u);
  EXPECT_EQ(uint64_t{sys::file_setattr}, 469u);
  EXPECT_EQ(system_call_name(467), "open_tree_attr");
}

TEST(SystemCalls, WhatReceives) {
  for (const uint64_t number : {sys::read, sys::recvmsg, sys::splice, sys::io_uring_enter})
    EXPECT_TRUE(may_receive(number)) << number;
  for (const uint64_t number : {sys::write, sys::sendto, sys::getpid}) EXPECT_FALSE(may_receive(number)) << number;
  EXPECT_FALSE(may_receive(UINT64_MAX));
}

TEST(UserRegisters, TheCallThatTheyMake) {
  UserRegisters registers{};
  registers.orig_ax = sys::pwrite64;
  registers.di = 1, registers.si = 2, registers.dx = 3, registers.r10 = 4, registers.r8 = 5, registers.r9 = 6;
  registers.cx = 99;  // SYSCALL has the program counter there, not an argument
  EXPECT_EQ(registers.number(), sys::pwrite64);
  EXPECT_EQ(registers.arguments(), (std::array<uint64_t, 6>{1, 2, 3, 4, 5, 6}));
  UserRegisters made{};
  made.set_number(sys::pwrite64);
  made.set_arguments({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(made.arguments(), registers.arguments());
  EXPECT_EQ(made.orig_ax, registers.orig_ax);
  EXPECT_EQ(made.cx, 0u);
}

TEST(UserRegisters, CallsOf32BitProgramsAreForeign) {
  UserRegisters registers{};
  EXPECT_FALSE(registers.is_native(0));
  registers.set_native();
  EXPECT_TRUE(registers.is_native(0));
  EXPECT_FALSE(registers.is_native(2)) << "INT 0x80 of a 64-bit program";
  registers.cs = 0x23;
  EXPECT_FALSE(registers.is_native(0));
}

TEST(UserRegisters, LieAsLinuxHasThem) {
  EXPECT_EQ(sizeof(UserRegisters), 168u);
  EXPECT_EQ(UserRegisters::result_offset(), 80u);
  EXPECT_TRUE(UserRegisters::is_layout(120, 112));
  EXPECT_FALSE(UserRegisters::is_layout(112, 120));
}

}  // namespace
}  // namespace oboro::arch
