#include "tracer/entry/kvm/kvm_session.h"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <signal.h>
#include <thread>
#include <unistd.h>

#include "arch/code.h"
#include "guest/ftrace.h"
#include "tracer/entry/kvm/last_words.h"

namespace oboro::tracer {
namespace {

using engine::kvm::FilterSlot;
using engine::kvm::KernelMapping;
using engine::kvm::KvmVcpu;
using engine::kvm::Machine;

// No device of a PC is there, and KVM emulates none. The guest may write to it too: only RIP makes a write ours.
constexpr uint8_t kTrapPort = 0xe5;

void complain(const std::string& message) { fprintf(stderr, "oboro: %s\n", message.c_str()); }

// For engine::apply(): a vCPU whose set_rip() is that of the hooked function.
struct AtHook {
  KvmVcpu& vcpu;
  const guest::Kernel& kernel;
  uint64_t reg(arch::Reg reg) { return vcpu.reg(reg); }
  void set(arch::Reg reg, uint64_t value) { vcpu.set(reg, value); }
  bool read_word(Gva at, uint64_t& out) { return kernel.read(at, &out, sizeof out); }
  void go_to(Gva at) { vcpu.set_rip(at.value); }
};

}  // namespace

Result<void> KvmSession::set_up() {
  engine::kvm::install_kick_signal();
  Result<std::unique_ptr<Tracer>> tracer = make_tracer(machine.memory(), start_);
  if (!tracer) return tracer.error();
  tracer_ = std::move(*tracer);
  if (start_.commands < 0) return Error{Errc::invalid, "commands is missing"};
  if (supervisor_is_gone()) lost_before_armed();
  // The VMM's threads get its signals.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(&KvmSession::watch, this).detach();  // the session lives as long as the process
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

// All other vCPUs are stopped.
void KvmSession::take_hooks_out(Code code) {
  breakpoints({});
  if (code != Code::is_gone) sites_.remove();
  if (code == Code::goes_on) mark_for_ftrace(false);
  nops_.clear();
  sites_.clear();
  traps_.clear();
  // The slot and its mapping stay: a task may sleep inside of a stub.
  if (slot_) slot_->clear();
  mapping_.reset();
}

// ftrace patches the same NOPs, and gives up altogether when it finds something else there (ftrace_bug()). So it is
// told to leave ours out; in the guest, function tracing and kprobes of all other functions go on working. Its records
// are looked for each time: they move when the kernel gives back what only its start needed.
void KvmSession::mark_for_ftrace(bool hidden) {
  if (nops_.empty()) return;
  guest::Reader r(tracer_->kernel());
  for (const Gva flags : guest::ftrace_flags(r, nops_)) {
    const auto bytes = flags ? tracer_->kernel().bytes_at(flags) : std::span<const std::byte>();
    if (bytes.size() < sizeof(uint64_t) || flags.value % sizeof(uint64_t)) continue;
    // Guest RAM is this process's own memory; only reading it is const.
    std::atomic_ref word(*reinterpret_cast<uint64_t*>(const_cast<std::byte*>(bytes.data())));
    if (hidden)
      word.fetch_or(guest::kFtraceDisabled);
    else
      word.fetch_and(~guest::kFtraceDisabled);
  }
}

int KvmSession::run(KvmVcpu& vcpu) {
  const Machine::Handling handling(vcpu);
  for (;;) {
    const int result = machine.enter(vcpu);
    if (result != 0) return result;
    const Phase phase = phase_.load(std::memory_order_relaxed);
    if (phase == Phase::untraced || !handle_exit(vcpu)) return result;
  }
}

// Within a Handling. True: it was ours, and the guest goes on.
bool KvmSession::handle_exit(KvmVcpu& vcpu) {
  const kvm_run& run = vcpu.run();
  if (run.exit_reason == KVM_EXIT_IO && run.io.direction == KVM_EXIT_IO_OUT && run.io.port == kTrapPort &&
      run.io.size == 1 && run.io.count == 1)
    return trapped(vcpu);
  if (run.exit_reason == KVM_EXIT_MMIO && slot_ && run.mmio.is_write &&
      run.mmio.phys_addr - slot_start_.value < FilterSlot::kSize) {
    // The guest may read its stubs, not write them: KVM makes a device's access of it. It has no effect.
    tracer_->unseen("the guest tried to write to the tracer's memory");
    return true;
  }
  const Phase phase = phase_.load(std::memory_order_relaxed);
  if (run.exit_reason == KVM_EXIT_DEBUG && vcpu.breakpoints_wanted()) return trapped(vcpu);
  if (phase == Phase::waiting_for_kernel || phase == Phase::waiting_for_init) follow_boot(vcpu);
  return false;
}

std::unique_lock<std::mutex> KvmSession::lock_changing(KvmVcpu& vcpu) {
  const Machine::NotHandling waiting(vcpu);
  return std::unique_lock(changing_);
}

void KvmSession::breakpoints(std::vector<uint64_t> addresses) {
  breakpoints_ = std::move(addresses);
  for (KvmVcpu* vcpu : machine.vcpus())
    vcpu->set_breakpoints(breakpoints_.data(), static_cast<unsigned>(breakpoints_.size()));
}

void KvmSession::added(KvmVcpu& vcpu) {
  if (vcpu.index() == 0) tracer_->machine_found();
  const std::lock_guard lock(changing_);
  if (!breakpoints_.empty()) vcpu.set_breakpoints(breakpoints_.data(), static_cast<unsigned>(breakpoints_.size()));
}

// The exit is the VMM's; this only looks who caused it.
void KvmSession::follow_boot(KvmVcpu& vcpu) {
  const bool in_kernel = vcpu.rip() >= arch::kImageArea && vcpu.rip() < arch::kImageAreaEnd;
  const Phase phase = phase_;
  if (phase == Phase::waiting_for_kernel && !in_kernel) {
    // User mode: there was no exit by which to see the kernel before.
    if (!arch::in_user_mode(vcpu) || vcpu.rip() <= 0xffff) return;
    const auto lock = lock_changing(vcpu);
    if (phase_ == Phase::waiting_for_kernel) give_up("its programs ran before its kernel was seen");
    return;
  }
  if (!in_kernel) return;
  const auto lock = lock_changing(vcpu);
  if (phase_ == Phase::waiting_for_init) {
    switch (tracer_->progress()) {
      case Tracer::Progress::booting:
        return;
      case Tracer::Progress::initialised:
        return arm(vcpu);
      case Tracer::Progress::gone:
        phase_ = Phase::waiting_for_kernel;  // it was only on the way to another (kexec)
    }
  }
  if (phase_ != Phase::waiting_for_kernel) return;
  if (const auto found = tracer_->identify(vcpu); !found) {
    if (found.error().code != Errc::not_found) give_up(found.error().message);
    return;
  }
  phase_ = Phase::waiting_for_init;
}

void KvmSession::give_up(const std::string& why) {
  // No user code runs until the supervisor has decided; without its answer, or with a no, the VMM ends here.
  if (!tracer_->ask_to_go_on(why)) {
    say_at_once(fmt::format("the guest cannot be traced, and nobody says that it may run on: {}", why));
    _exit(kNotTraced);
  }
  breakpoints({});
  phase_ = Phase::untraced;
}

void KvmSession::arm(KvmVcpu& vcpu) {
  const Machine::Stopped stopped(machine, &vcpu);
  Result<std::vector<ArmedHook>> hooks = tracer_->arm(vcpu);
  if (!hooks) return give_up(hooks.error().message);
  if (tracer_->programs_run()) return give_up("its programs ran before it could be traced");
  place(vcpu, std::move(*hooks));
  phase_ = Phase::armed;
  tracer_->armed();
}

// All other vCPUs are stopped.
void KvmSession::place(KvmVcpu& vcpu, std::vector<ArmedHook> hooks) {
  hooks_ = std::move(hooks);
  if (start_.hooks == "debug") return place_breakpoints();
  if (start_.hooks != "text") {
    const Result<void> done = place_stubs(vcpu);
    if (done) {
      mark_for_ftrace(true);
      return sites_.install();
    }
    complain(fmt::format("calls cannot be filtered inside the guest, so every call of a hooked function stops it: {}",
                         done.error().message));
  }
  place_traps();
  mark_for_ftrace(true);
  sites_.install();
}

// The NOP of a hooked function: its address, and host memory to write it by.
std::optional<std::pair<Gva, std::byte*>> KvmSession::find_nop(const ArmedHook& hook) const {
  const guest::Layout& layout = tracer_->kernel().layout();
  const uint64_t offset = hook.address - layout.image_base.value;
  if (offset >= layout.image_size) return std::nullopt;
  std::byte* bytes = machine.map().writable(layout.image_start + offset, arch::kEntrySize);
  const auto nop = bytes ? arch::nop_offset({bytes, arch::kEntrySize}) : std::nullopt;
  if (!nop) return std::nullopt;
  return std::pair(Gva(hook.address + *nop), bytes + *nop);
}

// Each hook jumps to a stub in a memory slot of ours, which stops the vCPU only if the call is of interest.
Result<void> KvmSession::place_stubs(KvmVcpu& vcpu) {
  traps_.clear();
  sites_.clear();
  nops_.clear();
  const auto layout = tracer_->filter_layout();
  if (!layout) return Error{Errc::unsupported, "this kernel lacks what the filter needs"};
  if (!slot_) {
    Result<std::unique_ptr<FilterSlot>> slot = FilterSlot::create();
    if (!slot) return slot.error();
    const Result<Gpa> start = machine.add_slot((*slot)->memory(), true);
    if (!start) return start.error();
    slot_ = std::move(*slot);
    slot_start_ = *start;
  }
  slot_->clear();
  Result<KernelMapping> mapping =
      KernelMapping::make(machine.map(), arch::kernel_tables(vcpu)[0], tracer_->kernel().layout().image_base,
                          slot_start_, FilterSlot::kSize);
  if (!mapping) return mapping.error();
  mapping_ = std::move(*mapping);
  slot_->set_base(mapping_->base());
  std::vector<const ArmedHook*> missing;
  for (const ArmedHook& hook : hooks_) {
    const auto nop = find_nop(hook);
    if (!nop) {
      if (hook.filter_only) return Error{Errc::unsupported, "a function that the filter needs cannot be hooked"};
      missing.push_back(&hook);
      continue;
    }
    const auto program = tracer_->filter_program(hook, *layout);
    const Gva back = nop->first + arch::kNopSize;
    const auto stub = program ? slot_->place(*program, *layout, kTrapPort, back) : std::nullopt;
    if (!stub) return Error{Errc::unsupported, "this kernel lacks what the filter needs"};
    nops_.push_back(nop->first);
    sites_.add(nop->first, nop->second, arch::jump_to(nop->first, stub->entry));
    traps_[stub->trap.value] = {&hook, back.value};
  }
  for (const ArmedHook* hook : missing) tracer_->not_placed(*hook);
  tracer_->filter_with(*slot_);
  return {};
}

// Each hook stops the vCPU.
void KvmSession::place_traps() {
  traps_.clear();
  sites_.clear();
  nops_.clear();
  for (const ArmedHook& hook : hooks_) {
    if (hook.filter_only) continue;
    if (const auto nop = find_nop(hook)) {
      nops_.push_back(nop->first);
      sites_.add(nop->first, nop->second, arch::trap(kTrapPort));
      traps_[nop->first.value] = {&hook, nop->first.value + arch::kNopSize};
    } else {
      tracer_->not_placed(hook);
    }
  }
}

// Nothing of the guest's memory is changed; four functions are watched, and what that leaves out is reported.
void KvmSession::place_breakpoints() {
  traps_.clear();
  sites_.clear();
  nops_.clear();
  std::vector<uint64_t> addresses;
  const auto essential = hooks::essential_functions();
  for (const ArmedHook& hook : hooks_) {
    if (hook.filter_only) continue;
    if (std::find(essential.begin(), essential.end(), hook.point->function) == essential.end()) {
      tracer_->not_placed(hook);
      continue;
    }
    addresses.push_back(hook.address);
    traps_[hook.address] = {&hook, 0};
  }
  breakpoints(std::move(addresses));
  tracer_->watch_essential_only();
}

bool KvmSession::trapped(KvmVcpu& vcpu) {
  const auto trap = traps_.find(vcpu.rip());
  if (trap == traps_.end()) {
    // In a stub whose hook is out by now: KVM steps over the OUT. Anything else is the guest's own use of that port.
    const uint64_t in_slot = vcpu.rip() - (slot_ ? slot_->base().value : 0);
    return slot_ && in_slot < FilterSlot::kProcesses;
  }
  const uint64_t begun = times_.begin();
  const uint64_t records = begun ? tracer_->records() : 0;
  const ArmedHook& hook = *trap->second.hook;
  tracer_->count_stop();
  if (trap->second.original)
    vcpu.set_rip(trap->second.original);
  else
    vcpu.resume_from_breakpoint();
  const engine::Response response = tracer_->hook(*hook.point, vcpu);
  if (begun && tracer_->records() == records) times_.end(begun);  // of those that changed nothing
  AtHook at{vcpu, tracer_->kernel()};
  if (hook.may_steer && !engine::apply(response, at)) tracer_->not_answered();
  if (tracer_->kernel_was_replaced()) end_boot(vcpu, "kexec", Code::ends);  // by this vCPU or another one's hook
  return true;
}

void KvmSession::end_boot(KvmVcpu& vcpu, const char* how, Code code) {
  const auto lock = lock_changing(vcpu);
  if (phase_ != Phase::armed && phase_ != Phase::waiting_for_init) return;
  const Machine::Stopped stopped(machine, &vcpu);
  take_hooks_out(code);
  phase_ = Phase::waiting_for_kernel;
  tracer_->boot_ended(how);
}

void KvmSession::another_machine() {
  complain("this VMM runs a second virtual machine, which is not traced: one traced machine a process");
  tracer_->unseen("a second virtual machine of the same VMM is not traced");
}

// The VMM may give back registers that it has only looked at, of a program that happens to stand there.
void KvmSession::vcpu_was_reset(KvmVcpu& vcpu) {
  const Machine::Handling handling(vcpu);
  if (vcpu.index() == 0 && arch::was_reset(vcpu)) end_boot(vcpu, "reset", Code::is_gone);
}

}  // namespace oboro::tracer
