// What every engine (TCG plugin, KVM interposer, fake) offers to what is above it, each part by itself:
//   memory       physical_memory.h
//   registers    Vcpu, here
//   placement    placement.h: hooks in the guest's kernel, perhaps with a filter in front (filter.h)
//   stopping     stopping.h: the machine stands still for a change
//   answering    response.h: what the vCPU at a hook is to do
// No part says in which process or thread a vCPU runs. A vCPU is named by being passed, or by its index.
#pragma once

#include <cstdint>

#include "arch/arch.h"
#include "engine/response.h"

namespace oboro::engine {

// The vCPU that stands still while the tracer is told of it: at a hook (the first instruction of a kernel function;
// none of the function has run), or at another place that concerns the boot. It is valid only inside the call, on the
// thread that makes the call: with TCG and KVM the vCPU's own. Implemented by engine/tcg/vcpu.h, engine/kvm/vcpu.h and
// tests/support/engine.
class Vcpu {
 public:
  virtual ~Vcpu() = default;
  virtual unsigned index() const = 0;
  // For the functions of src/arch, which know what a register means.
  virtual uint64_t reg(arch::Reg reg) = 0;
};

}  // namespace oboro::engine
