// A vCPU of KVM, read through the page that KVM shares with its VMM (struct kvm_run). With KVM_CAP_SYNC_REGS the
// general registers come and go with each KVM_RUN, without a further system call.
#pragma once

#include <atomic>
#include <cstdint>
#include <linux/kvm.h>
#include <optional>
#include <pthread.h>

#include "arch/kvm.h"
#include "engine/engine.h"

namespace oboro::engine::kvm {

using Ioctl = int (*)(int fd, unsigned long request, void* argument);

class KvmVcpu final : public Vcpu {
 public:
  // run: the mapping of fd, at least as large as a struct kvm_run.
  KvmVcpu(unsigned index, int fd, kvm_run* run, Ioctl ioctl) : index_(index), fd_(fd), run_(run), ioctl_(ioctl) {}

  unsigned index() const override { return index_; }
  // A register at the last exit of KVM_RUN. Segment and control registers cost a system call, once for each exit.
  uint64_t reg(arch::Reg reg) override;

  int fd() const { return fd_; }
  kvm_run& run() { return *run_; }
  uint64_t rip() const { return run_->s.regs.regs.rip; }
  // Where the vCPU goes on. This and what follows take effect with the next KVM_RUN.
  void set_rip(uint64_t rip);
  // Sets a general register; the others stay as they are.
  void set(arch::Reg reg, uint64_t value);
  // Executes the instruction at rip even though a breakpoint is set there.
  void resume_from_breakpoint();

  // --- breakpoints: the VMM's own debugging goes before ours
  void set_breakpoints(const uint64_t* addresses,
                       unsigned count);  // at most arch::kMostBreakpoints; takes effect in apply_debug()
  // The VMM's KVM_SET_GUEST_DEBUG. Returns the kernel's result, with errno.
  int vmm_set_debug(kvm_guest_debug* debug);
  // To be called before KVM_RUN, on the vCPU's thread. False if KVM refused.
  bool apply_debug();
  bool breakpoints_wanted() const { return count_ != 0; }

 private:
  friend class Machine;

  const kvm_sregs& sregs();

  unsigned index_;
  int fd_;
  kvm_run* run_;
  Ioctl ioctl_;
  kvm_sregs sregs_{};
  bool sregs_known_ = false;  // for this exit

  kvm_guest_debug vmm_debug_{};
  uint64_t breakpoints_[arch::kMostBreakpoints] = {};
  unsigned count_ = 0;
  std::atomic<bool> debug_changed_{false};

  // What the vCPU's thread is at (Machine). It is one word, so that a thread that waits for a change sees no gap
  // between two states.
  enum class At : uint8_t {
    vmm,       // the VMM's own business; or a wait during which it does not count as handling
    guest,     // in KVM_RUN, or about to be
    handling,  // reads guest memory, uses what only goes while all are stopped
  };
  std::atomic<At> at_{At::vmm};
  std::atomic<bool> kicked_{false};
  std::atomic<pthread_t> thread_{};
  std::atomic<bool> has_thread_{false};
};

}  // namespace oboro::engine::kvm
