#include "tracer/entry/kvm/kvm_session.h"

#include <cstdio>
#include <fmt/format.h>
#include <signal.h>
#include <thread>
#include <unistd.h>

#include "guest/ftrace.h"
#include "guest/writer.h"
#include "tracer/entry/kvm/last_words.h"

namespace oboro::tracer {
namespace {

using engine::kvm::KvmPlacement;
using engine::kvm::KvmVcpu;
using engine::kvm::Machine;

void complain(const std::string& message) { fprintf(stderr, "oboro: %s\n", message.c_str()); }

// What engine::apply() gets: a vCPU whose set_rip() is that of the hooked function.
struct AtHook {
  KvmVcpu& vcpu;
  const Tracer& tracer;
  uint64_t reg(arch::Reg reg) { return vcpu.reg(reg); }
  void set(arch::Reg reg, uint64_t value) { vcpu.set(reg, value); }
  bool read_word(Gva at, uint64_t& out) { return tracer.kernel().read(at, &out, sizeof out); }
  void go_to(Gva at) { vcpu.set_rip(at.value); }
};

}  // namespace

Result<void> KvmSession::set_up() {
  engine::kvm::install_kick_signal();
  Result<std::unique_ptr<Tracer>> tracer = make_tracer(machine.memory(), start_);
  if (!tracer) return tracer.error();
  tracer_ = std::move(*tracer);
  engine::Placement& placement = *this;
  engine::Stopping& stopping = *this;
  boot_.emplace(*tracer_, placement, stopping);
  if (start_.commands < 0) return Error{Errc::invalid, "commands is missing"};
  if (supervisor_is_gone()) lost_before_armed();
  // Signals are for the VMM's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(&KvmSession::look_after, this).detach();  // the session lives as long as the process
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

KvmPlacement::Way KvmSession::way_of(const link::Start& start) {
  return start.hooks == "debug"  ? KvmPlacement::Way::debug
         : start.hooks == "text" ? KvmPlacement::Way::text
                                 : KvmPlacement::Way::filter;
}

// They would be saved, too.
const char* KvmSession::hindered(const engine::KernelImage& image) {
  return placement_.changes_memory() && machine.map().is_logged(image.start.value, image.size)
             ? "its memory is saved or sent elsewhere while it starts"
             : nullptr;
}

engine::Placed KvmSession::place(const engine::Wanted& wanted) {
  engine::Placed placed = placement_.place(wanted);
  if (!placed.not_filtered.empty())
    complain(fmt::format("calls cannot be filtered inside the guest, so every call of a hooked function stops it: {}",
                         placed.not_filtered));
  mark_for_ftrace(true);
  return placed;
}

void KvmSession::take_out(Code code) {
  if (code == Code::goes_on) mark_for_ftrace(false);
  placement_.take_out(code);
  leaving_ = false;
  watched_again();
}

void KvmSession::stop(engine::Vcpu* self, std::function<void()> change) {
  const Machine::Stopped stopped(machine, static_cast<KvmVcpu*>(self));
  change();
}

void KvmSession::aside(engine::Vcpu& self, const std::function<void()>& wait) {
  const Machine::NotHandling waiting(static_cast<KvmVcpu&>(self));
  wait();
}

void KvmSession::end(const std::string& why) {
  say_at_once(why);
  _exit(kNotTraced);
}

// ftrace patches the same NOPs, and gives up altogether when it finds other bytes there (ftrace_bug()). So it is told
// to leave ours out. In the guest, function tracing and kprobes of all other functions go on working. ftrace's records
// are looked for each time: they move when the kernel gives back the memory that only its start needed.
void KvmSession::mark_for_ftrace(bool hidden) {
  const std::vector<Gva> nops = placement_.nops();
  if (nops.empty()) return;
  guest::Reader r(tracer_->kernel());
  const guest::Writer writer(tracer_->kernel());
  for (const Gva flags : guest::ftrace_flags(r, nops)) {
    if (hidden)
      writer.set_bits(flags, guest::kFtraceDisabled);
    else
      writer.clear_bits(flags, guest::kFtraceDisabled);
  }
}

int KvmSession::run(KvmVcpu& vcpu) {
  const Machine::Handling handling(vcpu);
  for (;;) {
    const int result = machine.enter(vcpu);
    if (machine.ran_unwatched()) ran_unwatched();
    if (result != 0) return result;
    if (boot_->phase() == Boot::Phase::untraced || !handle_exit(vcpu)) return result;
  }
}

// Called within a Handling. True: the exit was ours, and the guest goes on.
bool KvmSession::handle_exit(KvmVcpu& vcpu) {
  const kvm_run& run = vcpu.run();
  if (run.exit_reason == KVM_EXIT_IO && run.io.direction == KVM_EXIT_IO_OUT && run.io.port == engine::kvm::kTrapPort &&
      run.io.size == 1 && run.io.count == 1)
    return trapped(vcpu);
  if (run.exit_reason == KVM_EXIT_MMIO && run.mmio.is_write && placement_.owns(Gpa(run.mmio.phys_addr))) {
    // The write has no effect.
    tracer_->unseen("the guest tried to write to the tracer's memory");
    return true;
  }
  if (run.exit_reason == KVM_EXIT_DEBUG && vcpu.breakpoints_wanted()) return trapped(vcpu);
  follow_boot(vcpu, boot_->phase());
  return false;
}

void KvmSession::added(KvmVcpu& vcpu) { placement_.added(vcpu); }

// The exit is the VMM's. This only looks which code of the guest caused it.
void KvmSession::follow_boot(KvmVcpu& vcpu, Boot::Phase phase) {
  if (phase != Boot::Phase::waiting_for_kernel && phase != Boot::Phase::starting) return;
  if (vcpu.rip() >= arch::kImageArea && vcpu.rip() < arch::kImageAreaEnd) return boot_->in_kernel(vcpu);
  // User mode: no exit came before by which the kernel could be seen.
  if (phase == Boot::Phase::waiting_for_kernel && arch::in_user_mode(vcpu) && vcpu.rip() > 0xffff)
    boot_->runs_program(vcpu);
}

bool KvmSession::trapped(KvmVcpu& vcpu) {
  const KvmPlacement::Trap* trap = placement_.trap(vcpu);
  // In a stub whose hook is out by now, KVM steps over the OUT. Any other exit is the guest's own use of that port.
  if (!trap) return placement_.in_stub(vcpu);
  const uint64_t begun = times_.begin();
  const uint64_t records = begun ? tracer_->records() : 0;
  tracer_->count_stop();
  if (trap->original)
    vcpu.set_rip(trap->original);
  else
    vcpu.resume_from_breakpoint();
  AtHook at{vcpu, *tracer_};
  boot_->at_hook(*trap->hook, vcpu, at);
  if (begun && tracer_->records() == records) times_.end(begun);  // only handlings that changed nothing are measured
  return true;
}

void KvmSession::another_machine() {
  complain("this VMM runs a second virtual machine, which is not traced: one traced machine a process");
  tracer_->unseen("a second virtual machine of the same VMM is not traced");
}

// The VMM may give back registers that it has only looked at, and a program may happen to stand there.
void KvmSession::vcpu_was_reset(KvmVcpu& vcpu) {
  const Machine::Handling handling(vcpu);
  // A guest that is untraced on KVM remains so until its VMM ends.
  if (boot_->phase() != Boot::Phase::untraced) boot_->at_reset_vector(vcpu);
}

}  // namespace oboro::tracer
