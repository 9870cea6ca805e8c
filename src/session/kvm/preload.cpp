// The shared object that is preloaded into a VMM (LD_PRELOAD): the KVM engine's entry, and the phases of a boot. It
// stands between the VMM and KVM by being the first to define ioctl().
//
//   waiting_for_kernel   Every exit of a vCPU is looked at: does it run a Linux kernel at its final address yet?
//   waiting_for_init     The kernel is known and initialises itself. At the first exit after its own code is final
//   (drivers
//                        look for their devices then, so there are many) the hooks go in; if a program runs already, it
//                        was too late, and the guest is not traceable.
//   armed                The hooks are in the guest's code.
//   untraced             The kernel could not be traced and the user wants it run all the same; or tracing has ended:
//   by
//                        `oboro detach`, or because the supervisor is gone.
// A reset is noticed by the register values that the VMM sets. Without OBORO_KVM in the environment, or in a process
// that makes no virtual machine, all of this is asleep: ioctl() is passed on.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <mutex>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/kvm/filter_slot.h"
#include "engine/kvm/hook_sites.h"
#include "engine/kvm/kernel_mapping.h"
#include "engine/kvm/machine.h"
#include "guest/ftrace.h"
#include "session/control.h"
#include "session/kvm/handler_times.h"
#include "session/start.h"

extern "C" [[gnu::visibility("default")]] const char oboro_kvm_loaded = 1;

namespace oboro::session {
namespace {

using engine::kvm::FilterSlot;
using engine::kvm::HookSites;
using engine::kvm::KernelMapping;
using engine::kvm::KvmVcpu;
using engine::kvm::Machine;

// No device of a PC is there, and KVM emulates none. The guest may write to it too: only RIP makes a write ours.
constexpr uint8_t kTrapPort = 0xe5;
constexpr engine::kvm::SiteBytes kTrap = {0xe6, kTrapPort, 0x00, 0x00, 0x00};  // out $port, %al; never executed further
// Where Linux maps its image (arch/x86/include/asm/page_64_types.h).
constexpr uint64_t kImageArea = 0xffffffff80000000, kImageAreaEnd = 0xffffffffc0000000;
constexpr uint64_t kResetRip = 0xfff0;
constexpr int kCheckMs = 1000;
constexpr size_t kMaxDescriptors = 65536;
// KVM_SET_USER_MEMORY_REGION2 (Linux 6.8), which the build machine's headers need not have.
constexpr unsigned long kSetMemoryRegion2 = _IOC(_IOC_WRITE, KVMIO, 0x49, 160);

enum class Phase { waiting_for_kernel, waiting_for_init, armed, untraced };

void complain(const std::string& message) { fprintf(stderr, "oboro: %s\n", message.c_str()); }

int next_ioctl(int fd, unsigned long request, void* argument) {
  using Function = int (*)(int, unsigned long, ...);
  static const auto function = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "ioctl"));
  return function(fd, request, argument);
}

struct Trap {
  const ArmedHook* hook;
  uint64_t original;  // where the guest goes on if the hooked function is to run; 0: where it stands, at a breakpoint
};

// What is traced: the first virtual machine of the process that gets a vCPU.
class Session {
 public:
  Session(int vm_fd, const Start& start) : machine(vm_fd, next_ioctl), start_(start) {}

  Machine machine;
  // Everything that can fail does so here, before the guest has run an instruction.
  Result<void> set_up();
  // KVM_RUN as the VMM calls it.
  int run(KvmVcpu& vcpu);
  // The VMM gives a vCPU the registers that one has after a reset.
  void vcpu_was_reset(KvmVcpu& vcpu);
  // A vCPU is there that was not before.
  void added(KvmVcpu& vcpu);
  void print_times() { times_.print(); }

 private:
  bool handle_exit(KvmVcpu& vcpu);
  void follow_boot(KvmVcpu& vcpu);
  void arm(KvmVcpu& vcpu);
  void give_up(const std::string& why);
  void place(KvmVcpu& vcpu, std::vector<ArmedHook> hooks);
  Result<void> place_stubs(KvmVcpu& vcpu);
  void place_traps();
  std::optional<std::pair<Gva, std::byte*>> find_nop(const ArmedHook& hook) const;
  bool trapped(KvmVcpu& vcpu);
  void breakpoints(std::vector<uint64_t> addresses);
  void place_breakpoints();
  enum class Code { goes_on, ends, is_gone };  // what becomes of the kernel that has the hooks
  void end_boot(KvmVcpu& vcpu, const char* how, Code code);
  void take_hooks_out(Code code);
  void mark_for_ftrace(bool hidden);
  void watch();
  void check_guest();
  void detach(const char* why);

  Start start_;
  std::unique_ptr<Tracer> tracer_;
  std::atomic<Phase> phase_{Phase::waiting_for_kernel};
  std::mutex changing_;  // one change of phase at a time
  std::vector<ArmedHook> hooks_;
  std::vector<uint64_t> breakpoints_;
  std::unordered_map<uint64_t, Trap> traps_;  // by RIP; changed only while all vCPUs are stopped
  HookSites sites_;
  std::unique_ptr<FilterSlot> slot_;  // once made, it stays: KVM has it as guest memory
  Gpa slot_start_{};
  std::optional<KernelMapping> mapping_;
  HandlerTimes times_;
  std::vector<Gva> nops_;  // of the sites
};

Result<void> Session::set_up() {
  engine::kvm::install_kick_signal();
  Result<std::unique_ptr<Tracer>> tracer = make_tracer(machine.memory(), start_);
  if (!tracer) return tracer.error();
  tracer_ = std::move(*tracer);
  // The VMM's threads get its signals.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(&Session::watch, this).detach();  // the session lives as long as the process
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

// A thread of its own: what the supervisor says, that it is still there, and what the guest does to our hooks.
void Session::watch() {
  for (;;) {
    pollfd commands{start_.commands, POLLIN, 0};
    const int ready = poll(&commands, 1, kCheckMs);
    if (ready < 0 && errno != EINTR) return;
    if (ready <= 0) {
      check_guest();
      continue;
    }
    const Result<Message> message = receive_message(start_.commands, 0);
    if (!message) {
      detach("the supervisor is gone");
      return;
    }
    if (message->type == 'D') detach("asked for");
  }
}

void Session::check_guest() {
  const std::unique_lock lock(changing_, std::try_to_lock);
  if (!lock || phase_ != Phase::armed) return;
  if (sites_.overwritten()) tracer_->tampered("the guest patched a hooked function: calls of it may not be seen");
  if (mapping_ && !mapping_->intact())
    tracer_->tampered("the guest changed the page tables that lead to the tracer's stubs");
}

void Session::detach(const char* why) {
  const std::lock_guard lock(changing_);
  if (phase_ == Phase::untraced) return;
  const Machine::Stopped stopped(machine, nullptr);
  take_hooks_out(Code::goes_on);
  phase_ = Phase::untraced;
  tracer_->detached(why);
}

// All other vCPUs are stopped.
void Session::take_hooks_out(Code code) {
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
void Session::mark_for_ftrace(bool hidden) {
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

int Session::run(KvmVcpu& vcpu) {
  for (;;) {
    const int result = machine.enter(vcpu);
    if (result != 0) return result;
    const Phase phase = phase_.load(std::memory_order_relaxed);
    if (phase == Phase::untraced || !handle_exit(vcpu)) return result;
  }
}

// True: it was ours, and the guest goes on.
bool Session::handle_exit(KvmVcpu& vcpu) {
  const kvm_run& run = vcpu.run();
  if (run.exit_reason == KVM_EXIT_IO && run.io.direction == KVM_EXIT_IO_OUT && run.io.port == kTrapPort &&
      run.io.size == 1 && run.io.count == 1)
    return trapped(vcpu);
  const Phase phase = phase_.load(std::memory_order_relaxed);
  if (run.exit_reason == KVM_EXIT_DEBUG && vcpu.breakpoints_wanted()) return trapped(vcpu);
  if (phase == Phase::waiting_for_kernel || phase == Phase::waiting_for_init) {
    const Machine::Handling handling(vcpu);
    follow_boot(vcpu);
  }
  return false;
}

void Session::breakpoints(std::vector<uint64_t> addresses) {
  breakpoints_ = std::move(addresses);
  for (KvmVcpu* vcpu : machine.vcpus())
    vcpu->set_breakpoints(breakpoints_.data(), static_cast<unsigned>(breakpoints_.size()));
}

void Session::added(KvmVcpu& vcpu) {
  if (vcpu.index() == 0) tracer_->machine_found();
  const std::lock_guard lock(changing_);
  if (!breakpoints_.empty()) vcpu.set_breakpoints(breakpoints_.data(), static_cast<unsigned>(breakpoints_.size()));
}

// The exit is the VMM's; this only looks who caused it.
void Session::follow_boot(KvmVcpu& vcpu) {
  const bool in_kernel = vcpu.rip() >= kImageArea && vcpu.rip() < kImageAreaEnd;
  const Phase phase = phase_;
  if (phase == Phase::waiting_for_kernel && !in_kernel) {
    // User mode: there was no exit by which to see the kernel before.
    if ((vcpu.reg(x86::Reg::cs) & 3) != 3 || vcpu.rip() <= 0xffff) return;
    const std::lock_guard lock(changing_);
    if (phase_ == Phase::waiting_for_kernel) give_up("its programs ran before its kernel was seen");
    return;
  }
  if (!in_kernel) return;
  const std::lock_guard lock(changing_);
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

void Session::give_up(const std::string& why) {
  // No user code runs until the supervisor has decided; without its answer, or with a no, the VMM ends here.
  if (!tracer_->ask_to_go_on(why)) _exit(3);
  breakpoints({});
  phase_ = Phase::untraced;
}

void Session::arm(KvmVcpu& vcpu) {
  const Machine::Stopped stopped(machine, &vcpu);
  Result<std::vector<ArmedHook>> hooks = tracer_->arm(vcpu);
  if (!hooks) return give_up(hooks.error().message);
  if (tracer_->programs_run()) return give_up("its programs ran before it could be traced");
  place(vcpu, std::move(*hooks));
  phase_ = Phase::armed;
  tracer_->armed();
}

// All other vCPUs are stopped.
void Session::place(KvmVcpu& vcpu, std::vector<ArmedHook> hooks) {
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
std::optional<std::pair<Gva, std::byte*>> Session::find_nop(const ArmedHook& hook) const {
  const guest::Layout& layout = tracer_->kernel().layout();
  const uint64_t offset = hook.address - layout.image_base.value;
  if (offset >= layout.image_size) return std::nullopt;
  std::byte* bytes = machine.map().writable(layout.image_start + offset, engine::kvm::kEntrySize);
  const auto nop = bytes ? engine::kvm::nop_offset({bytes, engine::kvm::kEntrySize}) : std::nullopt;
  if (!nop) return std::nullopt;
  return std::pair(Gva(hook.address + *nop), bytes + *nop);
}

// Each hook jumps to a stub in a memory slot of ours, which stops the vCPU only if the call is of interest.
Result<void> Session::place_stubs(KvmVcpu& vcpu) {
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
      KernelMapping::make(machine.map(), vcpu.reg(x86::Reg::cr3), vcpu.reg(x86::Reg::cr4) & x86::kCr4La57,
                          tracer_->kernel().layout().image_base, slot_start_, FilterSlot::kSize);
  if (!mapping) return mapping.error();
  mapping_ = std::move(*mapping);
  slot_->set_base(mapping_->base());
  for (const ArmedHook& hook : hooks_) {
    const auto nop = find_nop(hook);
    if (!nop) {
      if (hook.filter_only) return Error{Errc::unsupported, "a function that the filter needs cannot be hooked"};
      tracer_->not_placed(hook);
      continue;
    }
    const auto program = tracer_->filter_program(hook, *layout);
    const Gva back = nop->first + engine::kvm::kNopSize;
    const auto stub = program ? slot_->place(*program, *layout, kTrapPort, back) : std::nullopt;
    if (!stub) return Error{Errc::unsupported, "this kernel lacks what the filter needs"};
    nops_.push_back(nop->first);
    sites_.add(nop->first, nop->second, engine::kvm::jump_to(nop->first, stub->entry));
    traps_[stub->trap.value] = {&hook, back.value};
  }
  tracer_->filter_with(*slot_);
  return {};
}

// Each hook stops the vCPU.
void Session::place_traps() {
  traps_.clear();
  sites_.clear();
  nops_.clear();
  for (const ArmedHook& hook : hooks_) {
    if (hook.filter_only) continue;
    if (const auto nop = find_nop(hook)) {
      nops_.push_back(nop->first);
      sites_.add(nop->first, nop->second, kTrap);
      traps_[nop->first.value] = {&hook, nop->first.value + engine::kvm::kNopSize};
    } else {
      tracer_->not_placed(hook);
    }
  }
}

// Nothing of the guest's memory is changed; four functions are watched, and what that leaves out is reported.
void Session::place_breakpoints() {
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

bool Session::trapped(KvmVcpu& vcpu) {
  const auto trap = traps_.find(vcpu.rip());
  if (trap == traps_.end()) {
    // In a stub whose hook is out by now: KVM steps over the OUT. Anything else is the guest's own use of that port.
    const uint64_t in_slot = vcpu.rip() - (slot_ ? slot_->base().value : 0);
    return slot_ && in_slot < FilterSlot::kProcesses;
  }
  const uint64_t begun = times_.begin();
  const uint64_t records = begun ? tracer_->records() : 0;
  const Machine::Handling handling(vcpu);
  const ArmedHook& hook = *trap->second.hook;
  tracer_->count_stop();
  if (trap->second.original)
    vcpu.set_rip(trap->second.original);
  else
    vcpu.resume_from_breakpoint();
  const engine::Verdict verdict = tracer_->hook(*hook.point, vcpu);
  if (begun && tracer_->records() == records) times_.end(begun);  // of those that changed nothing
  if (tracer_->kernel_was_replaced()) {
    end_boot(vcpu, "kexec", Code::ends);
    return true;
  }
  uint64_t back = 0;
  if (verdict.deny && hook.may_deny && tracer_->kernel().read(Gva(vcpu.reg(x86::Reg::rsp)), &back, sizeof back))
    vcpu.return_from_function(back, verdict.result);
  return true;
}

void Session::end_boot(KvmVcpu& vcpu, const char* how, Code code) {
  const std::lock_guard lock(changing_);
  if (phase_ != Phase::armed && phase_ != Phase::waiting_for_init) return;
  const Machine::Stopped stopped(machine, &vcpu);
  take_hooks_out(code);
  phase_ = Phase::waiting_for_kernel;
  tracer_->boot_ended(how);
}

void Session::vcpu_was_reset(KvmVcpu& vcpu) {
  if (vcpu.index() == 0) end_boot(vcpu, "reset", Code::is_gone);
}

// --- the process's descriptors

struct Process {
  std::mutex mutex;
  std::unique_ptr<Session> session;
  std::atomic<int> vm_fd{-1};
  std::atomic<int> kvm_fd{-1};
  std::array<std::atomic<KvmVcpu*>, kMaxDescriptors> vcpus{};  // by descriptor
};
Process* process;  // null: asleep

KvmVcpu* vcpu_of(int fd) {
  return fd >= 0 && static_cast<size_t>(fd) < kMaxDescriptors
             ? process->vcpus[static_cast<size_t>(fd)].load(std::memory_order_acquire)
             : nullptr;
}

[[noreturn]] void fail(const std::string& why) {
  complain(why);
  _exit(1);
}

int create_vm(int fd, unsigned long request, void* argument) {
  const int vm = next_ioctl(fd, request, argument);
  if (vm < 0) return vm;
  const std::lock_guard lock(process->mutex);
  if (process->session) return vm;
  const char* text = getenv("OBORO_KVM");
  const Result<Start> start = Start::parse(text ? text : "");
  if (!start) fail("OBORO_KVM: " + start.error().message);
  for (const int own : {start->control, start->settings, start->ring, start->commands}) fcntl(own, F_SETFD, FD_CLOEXEC);
  unsetenv("OBORO_KVM");  // what this process starts is not to be traced
  if (!(next_ioctl(fd, KVM_CHECK_EXTENSION, reinterpret_cast<void*>(KVM_CAP_SYNC_REGS)) & KVM_SYNC_X86_REGS))
    fail("this KVM does not share registers with its VMM (KVM_CAP_SYNC_REGS)");
  process->session = std::make_unique<Session>(vm, *start);
  if (const auto done = process->session->set_up(); !done) fail(done.error().message);
  if (getenv("OBORO_KVM_PROFILE")) atexit([] { process->session->print_times(); });
  process->kvm_fd = fd;
  process->vm_fd = vm;
  return vm;
}

int create_vcpu(int fd, unsigned long request, void* argument) {
  const int vcpu = next_ioctl(fd, request, argument);
  if (vcpu < 0) return vcpu;
  const int size = next_ioctl(process->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, nullptr);
  const Result<KvmVcpu*> added = static_cast<size_t>(vcpu) < kMaxDescriptors && size > 0
                                     ? process->session->machine.add_vcpu(vcpu, static_cast<size_t>(size))
                                     : Result<KvmVcpu*>(Error{Errc::limit, "too many descriptors"});
  if (!added) fail(added.error().message);
  process->session->added(**added);
  process->vcpus[static_cast<size_t>(vcpu)].store(*added, std::memory_order_release);
  return vcpu;
}

int on_kvm_ioctl(int fd, unsigned long request, void* argument) {
  if (request == KVM_RUN) {
    KvmVcpu* vcpu = vcpu_of(fd);
    return vcpu ? process->session->run(*vcpu) : next_ioctl(fd, request, argument);
  }
  if (request == KVM_CREATE_VM) return create_vm(fd, request, argument);
  if (fd == process->vm_fd.load(std::memory_order_acquire)) {
    if (request == KVM_CREATE_VCPU) return create_vcpu(fd, request, argument);
    if (request == KVM_SET_USER_MEMORY_REGION || request == kSetMemoryRegion2)
      return process->session->machine.set_memory_region(request, argument);
  } else if (request == KVM_SET_REGS || request == KVM_SET_GUEST_DEBUG) {
    if (KvmVcpu* vcpu = vcpu_of(fd)) {
      if (request == KVM_SET_GUEST_DEBUG) return vcpu->vmm_set_debug(static_cast<kvm_guest_debug*>(argument));
      const int result = next_ioctl(fd, request, argument);
      const int error = errno;
      if (result == 0 && static_cast<const kvm_regs*>(argument)->rip == kResetRip)
        process->session->vcpu_was_reset(*vcpu);
      errno = error;
      return result;
    }
  }
  return next_ioctl(fd, request, argument);
}

[[gnu::constructor]] void loaded() {
  if (!getenv("OBORO_KVM")) return;
  // Of two copies of this file the first is the one that traces; the other passes everything on.
  if (dlsym(RTLD_DEFAULT, "oboro_kvm_loaded") != &oboro_kvm_loaded) return;
  process = new Process;
}

}  // namespace
}  // namespace oboro::session

extern "C" [[gnu::visibility("default")]] int ioctl(int fd, unsigned long request, ...) noexcept {
  using namespace oboro::session;
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if (!process || _IOC_TYPE(request) != KVMIO) return next_ioctl(fd, request, argument);
  return on_kvm_ioctl(fd, request, argument);
}
