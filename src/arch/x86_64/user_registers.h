// struct pt_regs of Linux on x86-64 (arch/x86/include/asm/ptrace.h): a task's user registers on its kernel stack. The
// function of a system call (__x64_sys_...) takes its arguments from there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace oboro::arch {

inline constexpr uint64_t kKernelStackSize = 16384;  // THREAD_SIZE without KASAN; the registers lie at its top

struct UserRegisters {
  uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;

  // The system call in these registers, with its arguments.
  uint64_t number() const { return orig_ax; }
  std::array<uint64_t, 6> arguments() const { return {di, si, dx, r10, r8, r9}; }
  void set_number(uint64_t number) { orig_ax = number; }
  void set_arguments(const std::array<uint64_t, 6>& a) {
    di = a[0], si = a[1], dx = a[2], r10 = a[3], r8 = a[4], r9 = a[5];
  }

  // Whether the number is one of sys:: at all: a 64-bit program's call by SYSCALL, not INT 0x80. thread_status:
  // thread_info.status.
  bool is_native(uint32_t thread_status) const { return (cs & 0xffff) == kUserCode64 && !(thread_status & kCompat); }
  void set_native() { cs = kUserCode64; }

  // The place from which the kernel takes a call's result.
  static constexpr size_t result_offset() { return offsetof(UserRegisters, ax); }
  // Whether a kernel lays the registers out in this way, by where it has the number and the first argument.
  static constexpr bool is_layout(size_t number_at, size_t argument_at) {
    return number_at == offsetof(UserRegisters, orig_ax) && argument_at == offsetof(UserRegisters, di);
  }

  static constexpr uint16_t kUserCode64 = 0x33;  // __USER_CS
  static constexpr uint32_t kCompat = 0x2;       // TS_COMPAT, arch/x86/include/asm/thread_info.h
};

}  // namespace oboro::arch
