// The x86-64 registers in KVM's structures (struct kvm_regs, kvm_sregs, kvm_guest_debug).
#pragma once

#include <cstdint>
#include <linux/kvm.h>

#include "arch/x86_64/registers.h"

namespace oboro::arch {

// The place of a general register; null: it is one of kvm_sregs.
inline uint64_t* general_register(kvm_regs& registers, Reg reg) {
  static_assert(sizeof(__u64) == sizeof(uint64_t));
  const auto at = [](__u64& word) { return reinterpret_cast<uint64_t*>(&word); };
  switch (reg) {
    case Reg::rax:
      return at(registers.rax);
    case Reg::rdi:
      return at(registers.rdi);
    case Reg::rsi:
      return at(registers.rsi);
    case Reg::rdx:
      return at(registers.rdx);
    case Reg::rcx:
      return at(registers.rcx);
    case Reg::r8:
      return at(registers.r8);
    case Reg::r9:
      return at(registers.r9);
    case Reg::rsp:
      return at(registers.rsp);
    case Reg::rip:
      return at(registers.rip);
    default:
      return nullptr;
  }
}

inline uint64_t system_register(const kvm_sregs& registers, Reg reg) {
  switch (reg) {
    case Reg::cs:
      return registers.cs.selector;
    case Reg::gs_base:
      return registers.gs.base;
    case Reg::cr0:
      return registers.cr0;
    case Reg::cr3:
      return registers.cr3;
    case Reg::cr4:
      return registers.cr4;
    default:
      return 0;
  }
}

// The next instruction is executed even though a breakpoint is set there (RFLAGS.RF).
inline void pass_breakpoint(kvm_regs& registers) { registers.rflags |= uint64_t{1} << 16; }

inline constexpr unsigned kMostBreakpoints = 4;
// Sets breakpoints on the instructions at these addresses, and no others: DR0 to DR3, and DR7 (Intel SDM vol. 3, 17.2).
inline void use_breakpoints(kvm_guest_debug& debug, const uint64_t* addresses, unsigned count) {
  debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  uint64_t control = 0x400;  // bit 10 is always set
  for (unsigned i = 0; i < count; ++i) {
    debug.arch.debugreg[i] = addresses[i];
    control |= uint64_t{2} << (i * 2);  // Gn; R/Wn and LENn zero: instruction execution
  }
  debug.arch.debugreg[7] = control;
}

}  // namespace oboro::arch
