// struct pt_regs of Linux on x86-64 (arch/x86/include/asm/ptrace.h): a task's user registers, as its kernel stack has
// them, and what a system call's own function (__x64_sys_...) takes its arguments from.
#pragma once

#include <cstdint>

namespace oboro::arch {

struct PtRegs {
  uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

}  // namespace oboro::arch
