// What the mode of a vCPU tells about the boot of its machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/x86_64/registers.h"

namespace oboro::arch {

inline constexpr uint64_t kResetVector = 0xfffffff0;
inline constexpr uint64_t kLowCodeEnd = uint64_t{1} << 47;  // below: programs' code, or firmware's; no kernel's

template <typename Cpu>
bool in_user_mode(Cpu& cpu) {
  return (cpu.reg(Reg::cs) & 3) == 3;
}

// For a vCPU that is made up: it runs kernel code; or it stands at the first instruction after a reset.
template <typename Cpu>
void set_kernel_mode(Cpu& cpu) {
  cpu.set(Reg::cs, 0x10);
  cpu.set(Reg::cr0, 1);
}
template <typename Cpu>
void set_after_reset(Cpu& cpu) {
  cpu.set(Reg::cs, 0xf000);
  cpu.set(Reg::cr0, 0);
}

// Whether the vCPU, which stands at the first instruction after a reset, is there because of one: in real mode, and
// with the selector that 64-bit code does not have. The address alone proves nothing: an ordinary program may have a
// page there.
template <typename Cpu>
bool was_reset(Cpu& cpu) {
  constexpr uint64_t kResetSelector = 0xf000, kProtectedMode = 1;
  return (cpu.reg(Reg::cs) & 0xffff) == kResetSelector && !(cpu.reg(Reg::cr0) & kProtectedMode);
}

// A kernel announces itself by setting its entry for system calls. The first function: whether an instruction of this
// length may do that (WRMSR). The second one: whether the instruction at which the vCPU stands, and which may do it, is
// about to (to IA32_LSTAR).
inline constexpr size_t kAnnouncementSize = 2;
inline bool may_set_system_call_entry(std::span<const uint8_t> code) {
  return code.size() == kAnnouncementSize && code[0] == 0x0f && code[1] == 0x30;
}
template <typename Cpu>
bool sets_system_call_entry(Cpu& cpu) {
  return static_cast<uint32_t>(cpu.reg(Reg::rcx)) == 0xc0000082;
}

// The base of the per-CPU area of a vCPU in kernel mode. It stays the same for a whole boot.
template <typename Cpu>
uint64_t per_cpu_base(Cpu& cpu) {
  return cpu.reg(Reg::gs_base);
}
template <typename Cpu>
void set_per_cpu_base(Cpu& cpu, uint64_t base) {  // of one that is made up
  cpu.set(Reg::gs_base, base);
}

}  // namespace oboro::arch
