// What every engine (TCG plugin, KVM interposer, fake) offers to the hooks above it.
#pragma once

#include <cstdint>

#include "arch/x86/registers.h"

namespace oboro::engine {

// The vCPU that stands at a hook: at the first instruction of a kernel function, nothing of which has run. Valid only
// inside the call, on that vCPU's thread.
class Vcpu {
 public:
  virtual ~Vcpu() = default;
  virtual unsigned index() const = 0;
  virtual uint64_t reg(x86::Reg reg) = 0;
};

// What becomes of the hooked call.
struct Verdict {
  bool deny = false;  // the function returns `result` at once instead of running
  int64_t result = 0;
};

}  // namespace oboro::engine
