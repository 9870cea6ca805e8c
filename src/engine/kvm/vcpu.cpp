#include "engine/kvm/vcpu.h"

#include <algorithm>

namespace oboro::engine::kvm {

const kvm_sregs& KvmVcpu::sregs() {
  if (!sregs_known_) {
    sregs_ = {};
    ioctl_(fd_, KVM_GET_SREGS, &sregs_);
    sregs_known_ = true;
  }
  return sregs_;
}

uint64_t KvmVcpu::reg(arch::Reg reg) {
  const uint64_t* general = arch::general_register(run_->s.regs.regs, reg);
  return general ? *general : arch::system_register(sregs(), reg);
}

void KvmVcpu::set_rip(uint64_t rip) {
  run_->s.regs.regs.rip = rip;
  run_->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

void KvmVcpu::set(arch::Reg reg, uint64_t value) {
  uint64_t* general = arch::general_register(run_->s.regs.regs, reg);
  if (!general) return;
  *general = value;
  run_->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

void KvmVcpu::resume_from_breakpoint() {
  arch::pass_breakpoint(run_->s.regs.regs);
  run_->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

void KvmVcpu::set_breakpoints(const uint64_t* addresses, unsigned count) {
  count_ = std::min(count, arch::kMostBreakpoints);
  std::copy_n(addresses, count_, breakpoints_);
  debug_changed_ = true;
}

int KvmVcpu::vmm_set_debug(kvm_guest_debug* debug) {
  vmm_debug_ = *debug;
  if (count_ == 0) return ioctl_(fd_, KVM_SET_GUEST_DEBUG, debug);
  debug_changed_ = true;
  return 0;
}

bool KvmVcpu::apply_debug() {
  if (!debug_changed_.exchange(false)) return true;
  kvm_guest_debug debug = vmm_debug_;
  // If the VMM has set breakpoints of its own (a debugger at QEMU's gdbstub), it has the debug registers to itself.
  if (count_ != 0 && !(debug.control & KVM_GUESTDBG_USE_HW_BP)) arch::use_breakpoints(debug, breakpoints_, count_);
  return ioctl_(fd_, KVM_SET_GUEST_DEBUG, &debug) == 0;
}

}  // namespace oboro::engine::kvm
