// What every engine (TCG plugin, KVM interposer, fake) offers to the hooks above it.
#pragma once

#include <cstdint>

#include "arch/arch.h"
#include "engine/response.h"

namespace oboro::engine {

// The vCPU that stands at a hook: at the first instruction of a kernel function, nothing of which has run. Valid only
// inside the call, on that vCPU's thread.
class Vcpu {
 public:
  virtual ~Vcpu() = default;
  virtual unsigned index() const = 0;
  // For the functions of src/arch, which say what a register means.
  virtual uint64_t reg(arch::Reg reg) = 0;
};

}  // namespace oboro::engine
