// The x86-64 registers that Oboro asks an engine for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

namespace oboro::arch {

// As QEMU calls it.
inline constexpr std::string_view kName = "x86_64";

enum class Reg : uint8_t { rax, rdi, rsi, rdx, rcx, r8, r9, rsp, rip, cs, gs_base, cr0, cr3, cr4, count };

// As QEMU's plugin interface has them, in the same order.
inline constexpr std::string_view kRegisterNames[] = {"rax", "rdi", "rsi", "rdx",     "rcx", "r8",  "r9",
                                                      "rsp", "rip", "cs",  "gs_base", "cr0", "cr3", "cr4"};
inline constexpr size_t kRegisterCount = static_cast<size_t>(Reg::count);
static_assert(std::size(kRegisterNames) == kRegisterCount);

}  // namespace oboro::arch
