// What is traced: the first virtual machine of the process that loaded us. The phases of a boot:
//
//   waiting_for_kernel   Every exit of a vCPU is looked at: does it run a Linux kernel at its final address yet?
//   waiting_for_init     The kernel is known and initialises itself. At the first exit after its own code is final
//                        (drivers look for their devices then, so there are many) the hooks go in; if a program runs
//                        already, it was too late, and the guest is not traceable.
//   armed                The hooks are in the guest's code.
//   untraced             The kernel could not be traced and the user wants it run all the same; or tracing has ended:
//                        by `oboro detach`, or because the supervisor is gone and that is what was asked for.
// When the supervisor is gone before a boot is armed, the VMM ends with status 3; after, it is the setting
// (link::SupervisorLoss) that says what becomes of the guest.
// A reset is noticed by the register values that the VMM sets.
//
// Threads: run() on the vCPU's own; the rest by any thread of the VMM.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/kvm/filter_slot.h"
#include "engine/kvm/hook_sites.h"
#include "engine/kvm/kernel_mapping.h"
#include "engine/kvm/machine.h"
#include "tracer/entry/kvm/handler_times.h"
#include "tracer/make.h"

namespace oboro::tracer {

class KvmSession {
 public:
  KvmSession(int vm_fd, engine::kvm::Ioctl ioctl, const link::Start& start) : machine(vm_fd, ioctl), start_(start) {}

  engine::kvm::Machine machine;
  // Everything that can fail does so here, before the guest has run an instruction.
  Result<void> set_up();
  // KVM_RUN as the VMM calls it.
  int run(engine::kvm::KvmVcpu& vcpu);
  // The VMM gives a vCPU the registers that one has after a reset.
  void vcpu_was_reset(engine::kvm::KvmVcpu& vcpu);
  // A vCPU is there that was not before.
  void added(engine::kvm::KvmVcpu& vcpu);
  // The VMM has made another virtual machine, which runs untraced.
  void another_machine();
  void print_times() { times_.print(); }

 private:
  enum class Phase { waiting_for_kernel, waiting_for_init, armed, untraced };
  struct Trap {
    const ArmedHook* hook;
    uint64_t original;  // where the guest goes on if the hooked function is to run; 0: where it stands, at a breakpoint
  };

  bool handle_exit(engine::kvm::KvmVcpu& vcpu);
  void follow_boot(engine::kvm::KvmVcpu& vcpu);
  void arm(engine::kvm::KvmVcpu& vcpu);
  void give_up(const std::string& why);
  void place(engine::kvm::KvmVcpu& vcpu, std::vector<ArmedHook> hooks);
  Result<void> place_stubs(engine::kvm::KvmVcpu& vcpu);
  void place_traps();
  std::optional<std::pair<Gva, Gpa>> find_nop(const ArmedHook& hook) const;
  bool trapped(engine::kvm::KvmVcpu& vcpu);
  void breakpoints(std::vector<uint64_t> addresses);
  void place_breakpoints();
  enum class Code { goes_on, ends, is_gone };  // what becomes of the kernel that has the hooks
  // changing_, for a handler. Who has it may wait until all of them are over (Machine::Stopped): while this one waits,
  // it does not count as one.
  std::unique_lock<std::mutex> lock_changing(engine::kvm::KvmVcpu& vcpu);
  void end_boot(engine::kvm::KvmVcpu& vcpu, const char* how, Code code);
  void take_hooks_out(Code code);
  void mark_for_ftrace(bool hidden);
  // watch.cpp
  struct LettingGo;
  bool supervisor_is_gone() const;
  bool lost(LettingGo& going);
  void watch();
  void check_guest();
  bool let_go(LettingGo& going);
  std::string detach(const char* why, bool patient);

  link::Start start_;
  std::unique_ptr<Tracer> tracer_;
  std::atomic<Phase> phase_{Phase::waiting_for_kernel};
  std::mutex changing_;  // one change of phase at a time; handlers take it by lock_changing()
  std::vector<ArmedHook> hooks_;
  std::vector<uint64_t> breakpoints_;
  std::unordered_map<uint64_t, Trap> traps_;  // by RIP; changed only while all others are stopped (Machine::Stopped)
  engine::kvm::HookSites sites_{machine.memory()};
  std::unique_ptr<engine::kvm::FilterSlot> slot_;  // once made, it stays: KVM has it as guest memory
  Gpa slot_start_{};
  std::optional<engine::kvm::KernelMapping> mapping_;
  HandlerTimes times_;
  std::vector<Gva> nops_;  // of the sites
};

}  // namespace oboro::tracer
