#include "tracer/boot.h"

#include <utility>

namespace oboro::tracer {

using engine::Placement;

// The thread that has the lock may wait until no vCPU is at a hook, so a vCPU that waits for the lock must not count as
// one.
std::unique_lock<std::mutex> Boot::lock(engine::Vcpu& vcpu) {
  std::unique_lock lock(mutex_, std::defer_lock);
  stopping_.aside(vcpu, [&lock] { lock.lock(); });
  return lock;
}

void Boot::kernel_announced() {
  Phase from = Phase::waiting_for_kernel;
  phase_.compare_exchange_strong(from, Phase::starting);
}

void Boot::before_program(engine::Vcpu& vcpu) {
  const auto held = lock(vcpu);
  if (phase_ == Phase::starting && !changing_) arm(vcpu, false);
}

void Boot::in_kernel(engine::Vcpu& vcpu) {
  const auto held = lock(vcpu);
  if (changing_) return;
  if (phase_ == Phase::starting) {
    switch (tracer_.progress()) {
      case Tracer::Progress::booting:
        return;
      case Tracer::Progress::initialised:
        return arm(vcpu, true);
      case Tracer::Progress::gone:
        phase_ = Phase::waiting_for_kernel;  // this kernel was only on the way to another (kexec)
    }
  }
  if (phase_ != Phase::waiting_for_kernel) return;
  if (const auto found = tracer_.identify(vcpu); !found) {
    if (found.error().code != Errc::not_found) give_up(&vcpu, found.error().message);
    return;
  }
  phase_ = Phase::starting;
}

void Boot::runs_program(engine::Vcpu& vcpu) {
  const auto held = lock(vcpu);
  if (phase_ == Phase::waiting_for_kernel && !changing_) give_up(&vcpu, "its programs ran before its kernel was seen");
}

void Boot::at_reset_vector(engine::Vcpu& vcpu) {
  // Only the first vCPU's reset begins a boot: a guest that starts its other vCPUs resets them in the same way.
  if (vcpu.index() == 0 && arch::was_reset(vcpu)) end(vcpu, "reset", Placement::Code::is_gone);
}

void Boot::end(engine::Vcpu& vcpu, const char* how, Placement::Code code) {
  const auto held = lock(vcpu);
  if (phase_ == Phase::waiting_for_kernel || gone_) return;
  if (ended_ && code_ == Placement::Code::is_gone) return;
  ended_ = how;
  code_ = code;
  change(&vcpu, next_);
}

void Boot::arm(engine::Vcpu& vcpu, bool may_be_late) {
  const auto look = [this, &vcpu, may_be_late] {
    Result<std::vector<engine::Hook>> hooks = tracer_.arm(vcpu);
    if (!hooks) return give_up(&vcpu, hooks.error().message);
    wanted_ = std::move(*hooks);
    may_be_late_ = may_be_late;
    change(&vcpu, Next::armed);
  };
  // An engine that can stop the other vCPUs at once does so first. They, and their programs, would run on while the
  // supervisor is asked.
  if (stopping_.at_once())
    when_stopped(&vcpu, look);
  else
    look();
}

// No program runs until the supervisor has decided. Without its answer, or with a no, the machine ends.
void Boot::give_up(engine::Vcpu* self, const std::string& why) {
  if (!tracer_.ask_to_go_on(why))
    return stopping_.end("the guest cannot be traced, and nobody says that it may run on: " + why);
  change(self, Next::untraced);
}

void Boot::change(engine::Vcpu* self, Next next) {
  next_ = next;
  if (stopped_) return carry_out();
  if (!changing_) when_stopped(self, [this] { carry_out(); });
}

void Boot::when_stopped(engine::Vcpu* self, std::function<void()> work) {
  changing_ = true;
  stopping_.stop(self, [this, work = std::move(work), later = !stopping_.at_once()] {
    std::unique_lock held(mutex_, std::defer_lock);  // at once: the thread that asked for the change has the lock
    if (later) held.lock();
    stopped_ = true;
    work();
    stopped_ = false;
    changing_ = false;
  });
}

void Boot::carry_out() {
  Next next = std::exchange(next_, Next::none);
  if (const char* how = std::exchange(ended_, nullptr)) {
    placement_.take_out(code_);
    phase_ = Phase::waiting_for_kernel;
    tracer_.boot_ended(how);
    if (next != Next::let_go) return;  // the change was wanted for the boot that has ended
  }
  switch (next) {
    case Next::none:
      break;
    case Next::armed:
      place();
      break;
    case Next::untraced:
      phase_ = Phase::untraced;
      break;
    case Next::let_go:
      // A vCPU may have been past the look at whether services are hidden still, and have begun a call or marked a
      // thread meanwhile. Now none is at a hook, so what is seen stays so.
      if (phase_ == Phase::armed && !(stays_ = tracer_.retire(patient_)).empty()) break;
      placement_.take_out(Placement::Code::goes_on);
      phase_ = Phase::untraced;
      gone_ = true;
      tracer_.detached(why_);
  }
}

void Boot::place() {
  if (may_be_late_ && tracer_.programs_run()) return give_up(nullptr, "its programs ran before it could be traced");
  const guest::Layout& layout = tracer_.kernel().layout();
  const engine::KernelImage image{layout.image_base, layout.image_start, layout.image_size, layout.tables};
  if (const char* why = placement_.hindered(image)) return give_up(nullptr, why);
  hooks_ = std::move(wanted_);
  const auto filter_layout = tracer_.filter_layout();
  const engine::Placed placed = placement_.place({hooks_, image, filter_layout, [&](const engine::Hook& hook) {
                                                    return tracer_.filter_program(hook, *filter_layout);
                                                  }});
  for (const engine::Hook* hook : placed.missing) tracer_.not_placed(*hook);
  if (placed.filter) tracer_.filter_with(*placed.filter);
  if (placed.essential_only) tracer_.watch_essential_only();
  phase_ = Phase::armed;
  tracer_.armed();
}

std::string Boot::let_go(const char* why, bool patient) {
  const std::lock_guard held(mutex_);
  if (phase_ == Phase::untraced) {
    gone_ = true;
    return {};
  }
  // Looks without stopping anybody first, as long as that is enough to know that it is not over.
  if (phase_ == Phase::armed)
    if (std::string stays = tracer_.retire(patient); !stays.empty()) return stays;
  why_ = why;
  patient_ = patient;
  change(nullptr, Next::let_go);
  return std::exchange(stays_, {});
}

void Boot::while_armed(const std::function<void()>& look) {
  const std::unique_lock held(mutex_, std::try_to_lock);
  if (held && phase_ == Phase::armed) look();
}

void Boot::while_unchanged(const std::function<void()>& look) {
  const std::lock_guard held(mutex_);
  look();
}

void Boot::while_stopped(const std::function<void()>& change) {
  const std::lock_guard held(mutex_);
  when_stopped(nullptr, change);
}

}  // namespace oboro::tracer
