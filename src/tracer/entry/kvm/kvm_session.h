// The session traces the first virtual machine of the process that loaded us. It follows a boot (boot.h) by looking at
// those exits of vCPUs that are the VMM's: at each exit until a vCPU has been in a Linux kernel at its final address;
// then until that kernel's code is final, for which there are many exits (drivers look for their devices). It notices a
// reset by the register values that the VMM sets. If the supervisor is gone before a boot is armed, the VMM ends with
// status 3. After that, the policy (policy::Trouble::supervisor_loss) says what becomes of the guest.
//
// Threads: run() on the vCPU's own thread; the other functions on any thread of the VMM.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/kvm/machine.h"
#include "engine/kvm/placement.h"
#include "link/control.h"
#include "tracer/boot.h"
#include "tracer/entry/kvm/handler_times.h"
#include "tracer/make.h"

namespace oboro::tracer {

class KvmSession final : engine::Placement, engine::Stopping {
 public:
  KvmSession(int vm_fd, engine::kvm::Ioctl ioctl, const link::Start& start)
      : machine(vm_fd, ioctl), start_(start), placement_(machine, way_of(start)) {}

  engine::kvm::Machine machine;
  // With threads that keep the hooks in place while the VMM waits to save the guest's memory: how many looks, 10 ms
  // apart.
  std::atomic<unsigned> patience{100};
  // Does everything that can fail, before the guest has run an instruction.
  Result<void> set_up();
  // The VMM's KVM_SET_USER_MEMORY_REGION or ..REGION2 (memory.cpp).
  int set_memory_region(unsigned long request, void* argument);
  // The VMM is about to protect this memory of its process from writes, so that it can save the guest as it is now
  // (userfaultfd). Or it has ended that.
  void memory_protected(uint64_t host, uint64_t size, bool begins);
  // The VMM's KVM_RUN.
  int run(engine::kvm::KvmVcpu& vcpu);
  // The VMM gives a vCPU the registers that a vCPU has after a reset.
  void vcpu_was_reset(engine::kvm::KvmVcpu& vcpu);
  // To be told of each vCPU that is new.
  void added(engine::kvm::KvmVcpu& vcpu);
  // The VMM has made another virtual machine, which runs untraced.
  void another_machine();
  const stream::RingCounters& counters() const { return tracer_->counters(); }
  void print_times() { times_.print(); }

 private:
  bool handle_exit(engine::kvm::KvmVcpu& vcpu);
  void follow_boot(engine::kvm::KvmVcpu& vcpu, Boot::Phase phase);
  bool trapped(engine::kvm::KvmVcpu& vcpu);
  static engine::kvm::KvmPlacement::Way way_of(const link::Start& start);
  // What Boot asks the engine for.
  const char* hindered(const engine::KernelImage& image) override;
  engine::Placed place(const engine::Wanted& wanted) override;
  void take_out(Code code) override;
  bool at_once() const override { return true; }
  void stop(engine::Vcpu* self, std::function<void()> change) override;
  void aside(engine::Vcpu& self, const std::function<void()>& wait) override;
  [[noreturn]] void end(const std::string& why) override;
  void mark_for_ftrace(bool hidden);
  // memory.cpp
  bool holds_back() const;
  void make_way(uint64_t start, uint64_t size);
  bool holds_hooks(uint64_t start, uint64_t size);
  void memory_leaves();
  void memory_stays();
  std::string set_aside();
  bool stubs_in_use();
  void watched_again();
  void ran_unwatched();
  // watch.cpp
  struct LettingGo;
  bool supervisor_is_gone() const;
  bool lost(LettingGo& going);
  void look_after();
  link::Body answer_to(link::Message request);
  void check_guest();
  bool let_go(LettingGo& going);

  link::Start start_;
  std::unique_ptr<Tracer> tracer_;
  engine::kvm::KvmPlacement placement_;
  std::optional<Boot> boot_;
  HandlerTimes times_;
  std::atomic<bool> leaving_{
      false};  // the hooks are aside, or were to be: the guest's memory is saved or sent elsewhere
};

}  // namespace oboro::tracer
