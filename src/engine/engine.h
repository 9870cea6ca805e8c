// What every engine (TCG plugin, KVM interposer, fake) offers to the hooks above it.
#pragma once

#include <cstdint>

#include "arch/x86_64/registers.h"
#include "engine/response.h"

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

}  // namespace oboro::engine
