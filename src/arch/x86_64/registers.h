// The x86-64 registers that Oboro asks an engine for.
#pragma once

#include <cstdint>

namespace oboro::arch {

enum class Reg : uint8_t { rax, rdi, rsi, rdx, rcx, r8, r9, rsp, rip, cs, gs_base, cr0, cr3, cr4, count };

// The system V calling convention: where a kernel function finds its first six arguments.
inline constexpr Reg kArguments[] = {Reg::rdi, Reg::rsi, Reg::rdx, Reg::rcx, Reg::r8, Reg::r9};

inline constexpr uint64_t kCr0Pe = 1;                    // protected mode
inline constexpr uint64_t kCr4La57 = uint64_t{1} << 12;  // five-level paging
inline constexpr uint64_t kUserSpaceEnd = uint64_t{1} << 56;
inline constexpr uint16_t kResetCs = 0xf000;  // the selector after a reset

}  // namespace oboro::arch
