#include "engine/kvm/vcpu.h"

#include <algorithm>

namespace oboro::engine::kvm {

namespace {
constexpr uint64_t kFlagResume = uint64_t{1} << 16;  // RFLAGS.RF: no instruction breakpoint for one instruction
}

const kvm_sregs& KvmVcpu::sregs() {
  if (!sregs_known_) {
    sregs_ = {};
    ioctl_(fd_, KVM_GET_SREGS, &sregs_);
    sregs_known_ = true;
  }
  return sregs_;
}

uint64_t KvmVcpu::reg(arch::Reg reg) {
  const kvm_regs& r = run_->s.regs.regs;
  switch (reg) {
    case arch::Reg::rax:
      return r.rax;
    case arch::Reg::rdi:
      return r.rdi;
    case arch::Reg::rsi:
      return r.rsi;
    case arch::Reg::rdx:
      return r.rdx;
    case arch::Reg::rcx:
      return r.rcx;
    case arch::Reg::r8:
      return r.r8;
    case arch::Reg::r9:
      return r.r9;
    case arch::Reg::rsp:
      return r.rsp;
    case arch::Reg::rip:
      return r.rip;
    case arch::Reg::cs:
      return sregs().cs.selector;
    case arch::Reg::gs_base:
      return sregs().gs.base;
    case arch::Reg::cr0:
      return sregs().cr0;
    case arch::Reg::cr3:
      return sregs().cr3;
    case arch::Reg::cr4:
      return sregs().cr4;
    case arch::Reg::count:
      break;
  }
  return 0;
}

void KvmVcpu::set_rip(uint64_t rip) {
  run_->s.regs.regs.rip = rip;
  run_->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

void KvmVcpu::set(arch::Reg reg, uint64_t value) {
  kvm_regs& r = run_->s.regs.regs;
  switch (reg) {
    case arch::Reg::rax:
      r.rax = value;
      break;
    case arch::Reg::rdi:
      r.rdi = value;
      break;
    case arch::Reg::rsi:
      r.rsi = value;
      break;
    case arch::Reg::rdx:
      r.rdx = value;
      break;
    case arch::Reg::rcx:
      r.rcx = value;
      break;
    case arch::Reg::r8:
      r.r8 = value;
      break;
    case arch::Reg::r9:
      r.r9 = value;
      break;
    case arch::Reg::rsp:
      r.rsp = value;
      break;
    default:
      return;
  }
  run_->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

void KvmVcpu::resume_from_breakpoint() {
  run_->s.regs.regs.rflags |= kFlagResume;
  run_->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

void KvmVcpu::set_breakpoints(const uint64_t* addresses, unsigned count) {
  count_ = std::min(count, 4U);
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
  // With breakpoints of its own (a debugger at QEMU's gdbstub) the VMM has the registers to itself.
  if (count_ != 0 && !(debug.control & KVM_GUESTDBG_USE_HW_BP)) {
    debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    uint64_t control = 0x400;  // bit 10 is always set
    for (unsigned i = 0; i < count_; ++i) {
      debug.arch.debugreg[i] = breakpoints_[i];
      control |= uint64_t{2} << (i * 2);  // Gn; R/Wn and LENn zero: instruction execution
    }
    debug.arch.debugreg[7] = control;
  }
  return ioctl_(fd_, KVM_SET_GUEST_DEBUG, &debug) == 0;
}

}  // namespace oboro::engine::kvm
