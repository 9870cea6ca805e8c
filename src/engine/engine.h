// What every engine (TCG plugin, KVM interposer, fake) offers to what is above it, each by itself:
//   memory       physical_memory.h
//   registers    Vcpu, here
//   placement    placement.h: hooks in the guest's kernel, perhaps with a filter in front (filter.h)
//   stopping     stopping.h: the machine stands still for a change
//   answering    response.h: what the vCPU at a hook is to do
// Nothing in them says in which process or thread a vCPU runs: it is who is passed, or its index.
#pragma once

#include <cstdint>

#include "arch/arch.h"
#include "engine/response.h"

namespace oboro::engine {

// The vCPU that stands still while somebody is told of it: at a hook, which is the first instruction of a kernel
// function, nothing of which has run; or somewhere else that concerns the boot. Valid only inside the call, on the
// thread that makes it: with TCG and KVM the vCPU's own. By engine/tcg/vcpu.h, engine/kvm/vcpu.h, tests/support/engine.
class Vcpu {
 public:
  virtual ~Vcpu() = default;
  virtual unsigned index() const = 0;
  // For the functions of src/arch, which say what a register means.
  virtual uint64_t reg(arch::Reg reg) = 0;
};

}  // namespace oboro::engine
