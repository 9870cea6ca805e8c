// What every engine (TCG plugin, KVM interposer, fake) offers to the hooks above it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "arch/x86_64/registers.h"

namespace oboro::engine {

// The vCPU that stands at a hook: at the first instruction of a kernel function, nothing of which has run. Valid only
// inside the call, on that vCPU's thread.
class Vcpu {
 public:
  virtual ~Vcpu() = default;
  virtual unsigned index() const = 0;
  virtual uint64_t reg(arch::Reg reg) = 0;
};

// Whether the vCPU, which stands at the first instruction after a reset, is there because of one: real mode, and the
// selector that code of 64 bits does not have. The address alone is anybody's: an ordinary program may have a page
// there.
inline bool was_reset(Vcpu& vcpu) {
  return (vcpu.reg(arch::Reg::cs) & 0xffff) == arch::kResetCs && !(vcpu.reg(arch::Reg::cr0) & arch::kCr0Pe);
}

// Where the vCPU goes on instead of in the hooked function, and with which registers.
struct Detour {
  uint64_t rip = 0;  // 0: in the hooked function after all
  uint64_t rsp = 0;
  std::optional<uint64_t> rax;          // else as it is, like all other registers
  std::array<uint64_t, 4> arguments{};  // of the function at rip
  unsigned argument_count = 0;
};

// What becomes of the hooked call.
struct Verdict {
  bool deny = false;  // the function returns `result` at once instead of running
  int64_t result = 0;
  std::optional<Detour> detour;
};

}  // namespace oboro::engine
