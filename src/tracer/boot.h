// The life of a traced guest, from boot to boot, for all engines. An engine tells what it sees of its vCPUs. Boot then
// asks the engine (engine/placement.h, engine/stopping.h) and the Tracer to do what is to be done.
//
//   waiting_for_kernel   BIOS, boot loader, decompressor; a kernel that has handed over to another.
//   starting             A kernel is there, and initialises itself.
//   armed                The hooks are in place.
//   untraced             The kernel could not be traced and the user wants it run all the same: until the next boot.
//                        Or the guest has been let go: for good.
//
// An engine sees a boot in one of two ways. An engine that sees every instruction calls kernel_announced(), and
// before_program() when the first instruction of user mode is about to run. An engine that is told only now and then
// calls in_kernel() and runs_program(). Hooks then go in once the kernel's code is as it will stay; if a program runs
// by then, it was too late.
//
// Threads: all functions on any thread; those with a vCPU where that vCPU stands still. Changes are made one at a time,
// under a lock, while the machine is stopped. The state of a boot that has ended is dropped in such a change, and
// nowhere else.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/placement.h"
#include "engine/stopping.h"
#include "tracer/tracer.h"

namespace oboro::tracer {

class Boot {
 public:
  enum class Phase : uint8_t { waiting_for_kernel, starting, armed, untraced };

  // All must outlive this.
  Boot(Tracer& tracer, engine::Placement& placement, engine::Stopping& stopping)
      : tracer_(tracer), placement_(placement), stopping_(stopping) {}

  Phase phase() const { return phase_.load(std::memory_order_relaxed); }
  // Whether a change has been asked for and has not happened yet, or happens now.
  bool changing() const { return changing_.load(std::memory_order_acquire); }

  // --- what the engine sees
  // A kernel does something that no kernel does before it is at its final address.
  void kernel_announced();
  // The vCPU is about to execute the first instruction of user mode since kernel_announced(). It may do so when this
  // returns, unless changing(): then only after the change. Or the machine has been told to end.
  void before_program(engine::Vcpu& vcpu);
  // The vCPU runs a kernel at its final address. To be called again and again until phase() is past `starting`: the
  // first call finds the kernel, and a later one arms it, once it is far enough.
  void in_kernel(engine::Vcpu& vcpu);
  // The vCPU runs a program, and no kernel was seen before.
  void runs_program(engine::Vcpu& vcpu);
  // The vCPU is at the first instruction after a reset. If it is the first vCPU, and really there because of a reset, a
  // new boot begins.
  void at_reset_vector(engine::Vcpu& vcpu);
  // The vCPU stands at this hook. cpu: the same vCPU as engine::apply() takes it. apply() may leave this call by
  // longjmp.
  template <typename Cpu>
  void at_hook(const engine::Hook& hook, engine::Vcpu& vcpu, Cpu& cpu) {
    const bool may_steer = hook.may_steer;  // end() may drop the hook
    const engine::Response response = tracer_.hook(point_of(hook), vcpu);
    // The kernel was replaced on this vCPU or on another. The answer to this one holds all the same.
    if (tracer_.kernel_was_replaced()) end(vcpu, "kexec", engine::Placement::Code::ends);
    if (may_steer && !engine::apply(response, cpu)) tracer_.not_answered();
  }

  // --- on no vCPU's thread
  // Takes the hooks out of a guest that runs on, for good. Returns an empty text if that is done; or, with an engine
  // that stops later, if it will be done soon, so that phase() tells. Otherwise returns who keeps the hooks in place
  // (Tracer::retire), and nothing is changed but that services are not hidden any more.
  std::string let_go(const char* why, bool patient);
  // Calls look() if the hooks are in place, and keeps them in place meanwhile. Does not call it while a change is
  // there, or may be.
  void while_armed(const std::function<void()>& look);
  // Calls look() while no change is made, which it waits for. On a vCPU's thread only where that vCPU is not at a hook.
  void while_unchanged(const std::function<void()>& look);
  // For an engine that stops at once: calls `change` while the machine is stopped and no other change is made. On a
  // vCPU's thread only where that vCPU is not at a hook.
  void while_stopped(const std::function<void()>& change);

 private:
  enum class Next : uint8_t { none, armed, untraced, let_go };

  std::unique_lock<std::mutex> lock(engine::Vcpu& vcpu);
  // mutex_ is held in all of these.
  void arm(engine::Vcpu& vcpu, bool may_be_late);
  void give_up(engine::Vcpu* self, const std::string& why);
  void change(engine::Vcpu* self, Next next);
  void when_stopped(engine::Vcpu* self, std::function<void()> work);
  void carry_out();
  void place();

  void end(engine::Vcpu& vcpu, const char* how, engine::Placement::Code code);

  Tracer& tracer_;
  engine::Placement& placement_;
  engine::Stopping& stopping_;
  std::atomic<Phase> phase_{Phase::waiting_for_kernel};
  std::atomic<bool> changing_{false};
  std::mutex mutex_;  // guards what follows, and phase_ after its first step. On a vCPU's thread: lock()
  bool stopped_ = false;
  bool gone_ = false;  // the guest was let go
  Next next_ = Next::none;
  const char* ended_ = nullptr;       // how the boot has ended, if it has: goes before next_
  engine::Placement::Code code_{};    // how it ended
  std::vector<engine::Hook> wanted_;  // the hooks of a kernel that is to be armed
  bool may_be_late_ = false;          // the kernel's programs may run by then
  std::vector<engine::Hook> hooks_;   // the hooks in place
  const char* why_ = nullptr;         // why the guest is to be let go, how, and who is against it
  bool patient_ = false;
  std::string stays_;
};

}  // namespace oboro::tracer
