// The life of a traced guest, from boot to boot, for all engines. An engine tells what it sees of its vCPUs; what has
// to be done then is asked of it (engine/placement.h, engine/stopping.h), and of the Tracer.
//
//   waiting_for_kernel   BIOS, boot loader, decompressor; a kernel that has handed over to another.
//   starting             A kernel is there, and initialises itself.
//   armed                The hooks are in place.
//   untraced             The kernel could not be traced and the user wants it run all the same: until the next boot.
//                        Or the guest has been let go: for good.
//
// An engine sees a boot in one of two ways. One that sees every instruction says kernel_announced(), and
// before_program() when the first one of user mode is about to run. One that is told only now and then says in_kernel()
// and runs_program(): hooks go in once the kernel's code is as it will stay, and if a program runs by then it was too
// late.
//
// Threads: all from any, those with a vCPU where that stands still. Changes are made one at a time, under a lock, while
// the machine is stopped; what belongs to a boot that has ended is dropped there and nowhere else.
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
  // A change has been asked for and has not happened yet, or happens now.
  bool changing() const { return changing_.load(std::memory_order_acquire); }

  // --- what the engine sees
  // A kernel does what none does before it is at its final address.
  void kernel_announced();
  // The vCPU is about to execute the first instruction of user mode since then. When this returns it may, unless
  // changing(): then not before that is over. Or the machine has been told to end.
  void before_program(engine::Vcpu& vcpu);
  // The vCPU runs a kernel at its final address. To be said again and again, as long as no phase but starting has come:
  // the first time the kernel is found, a later time it is far enough to be armed.
  void in_kernel(engine::Vcpu& vcpu);
  // The vCPU runs a program, which there was no kernel to be seen before.
  void runs_program(engine::Vcpu& vcpu);
  // The vCPU is where one begins after a reset. If it is the first and really there because of one, a new boot begins.
  void at_reset_vector(engine::Vcpu& vcpu);
  // The vCPU stands at this hook. cpu: the same one as engine::apply() has it, which may leave this call by longjmp.
  template <typename Cpu>
  void at_hook(const engine::Hook& hook, engine::Vcpu& vcpu, Cpu& cpu) {
    const bool may_steer = hook.may_steer;  // end() may make the hook go
    const engine::Response response = tracer_.hook(point_of(hook), vcpu);
    // On this vCPU or on another: the answer holds.
    if (tracer_.kernel_was_replaced()) end(vcpu, "kexec", engine::Placement::Code::ends);
    if (may_steer && !engine::apply(response, cpu)) tracer_.not_answered();
  }

  // --- on no vCPU's thread
  // Takes the hooks out of a guest that runs on, for good. Empty: that is done, or with an engine that stops later will
  // be soon, so that phase() tells. Otherwise who keeps the hooks in place (Tracer::retire); nothing is changed but
  // that services are not hidden any more.
  std::string let_go(const char* why, bool patient);
  // Calls look() if the hooks are in place, and keeps them there meanwhile; not while there is, or might be, a change.
  void while_armed(const std::function<void()>& look);

 private:
  enum class Next : uint8_t { none, armed, untraced, let_go };

  std::unique_lock<std::mutex> lock(engine::Vcpu& vcpu);
  // With mutex_ held, all of them.
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
  std::mutex mutex_;  // what follows, and phase_ but for its first step. On a vCPU: lock()
  bool stopped_ = false;
  bool gone_ = false;  // let go
  Next next_ = Next::none;
  const char* ended_ = nullptr;       // by what, if the boot has ended: goes before next_
  engine::Placement::Code code_{};    // of that
  std::vector<engine::Hook> wanted_;  // of a kernel that is to be armed
  bool may_be_late_ = false;          // its programs may run by then
  std::vector<engine::Hook> hooks_;   // in place
  const char* why_ = nullptr;         // of letting go, and how, and who is against it
  bool patient_ = false;
  std::string stays_;
};

}  // namespace oboro::tracer
