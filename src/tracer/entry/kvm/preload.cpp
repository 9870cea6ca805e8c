// The shared object that is preloaded into a VMM (LD_PRELOAD): the KVM engine's entry. It stands between the VMM and
// KVM, because it is the first to define ioctl(). It knows which of the process's descriptors are KVM's, and hands
// their calls to kvm_session.h. Without OBORO_KVM in the environment, or in a process that makes no virtual machine, it
// passes every ioctl() on and does nothing else.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unistd.h>

#include "tracer/entry/kvm/kvm_session.h"

// Copies of this file find each other by this symbol.
extern "C" [[gnu::visibility("default")]] const char oboro_kvm_loaded = 1;

namespace oboro::tracer {
namespace {

using engine::kvm::KvmVcpu;

constexpr uint64_t kResetRip = 0xfff0;
constexpr size_t kMaxDescriptors = 65536;
// KVM_SET_USER_MEMORY_REGION2 (Linux 6.8), which the build machine's headers need not have.
constexpr unsigned long kSetMemoryRegion2 = _IOC(_IOC_WRITE, KVMIO, 0x49, 160);

int next_ioctl(int fd, unsigned long request, void* argument) {
  using Function = int (*)(int, unsigned long, ...);
  static const auto function = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "ioctl"));
  return function(fd, request, argument);
}

struct Process {
  std::mutex mutex;
  std::optional<link::Start> start;
  std::unique_ptr<KvmSession> session;
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
  fprintf(stderr, "oboro: %s\n", why.c_str());
  _exit(1);
}

// Takes this library out of LD_PRELOAD. What else is there is the user's.
void leave_preload_list() {
  Dl_info own{};
  const char* list = getenv("LD_PRELOAD");
  if (!list || !dladdr(&process, &own)) return;
  std::string rest;
  for (std::string_view left = list; !left.empty();) {
    const size_t size = std::min(left.find_first_of(": "), left.size());
    if (const std::string_view one = left.substr(0, size); !one.empty() && one != own.dli_fname)
      rest.append(rest.empty() ? "" : ":").append(one);
    left.remove_prefix(std::min(size + 1, left.size()));
  }
  if (rest.empty())
    unsetenv("LD_PRELOAD");
  else
    setenv("LD_PRELOAD", rest.c_str(), 1);
}

// For the first machine, which is the one to be traced.
void begin() {
  const char* text = getenv("OBORO_KVM");
  Result<link::Start> start = link::Start::parse(text ? text : "");
  if (!start) fail("OBORO_KVM: " + start.error().message);
  start->keep_from_children();
  // Programs that this process starts are not to be traced.
  unsetenv("OBORO_KVM");
  leave_preload_list();
  // The supervisor lets no machine be made before it has heard this (supervisor/launch/gate.h).
  (void)link::send(start->control, link::MachineFound{});
  process->start = std::move(*start);
}

int create_vm(int fd, unsigned long request, void* argument) {
  const std::lock_guard lock(process->mutex);
  if (!process->start) begin();
  const int vm = next_ioctl(fd, request, argument);
  if (vm < 0) return vm;
  if (process->session) {
    process->session->another_machine();
    return vm;
  }
  if (!(next_ioctl(fd, KVM_CHECK_EXTENSION, reinterpret_cast<void*>(KVM_CAP_SYNC_REGS)) & KVM_SYNC_X86_REGS))
    fail("this KVM does not share registers with its VMM (KVM_CAP_SYNC_REGS)");
  process->session = std::make_unique<KvmSession>(vm, next_ioctl, *process->start);
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
      return process->session->set_memory_region(request, argument);
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

int on_protection(int fd, unsigned long request, void* argument) {
  KvmSession* session = process->vm_fd.load(std::memory_order_acquire) >= 0 ? process->session.get() : nullptr;
  // Both structures begin with the range.
  uffdio_range range{};
  if (session && argument) std::memcpy(&range, argument, sizeof range);
  const bool begins = request == UFFDIO_REGISTER && argument &&
                      static_cast<const uffdio_register*>(argument)->mode & UFFDIO_REGISTER_MODE_WP;
  if (session && begins) session->memory_protected(range.start, range.len, true);
  const int result = next_ioctl(fd, request, argument);
  const int error = errno;
  if (session && request == UFFDIO_UNREGISTER && result == 0) session->memory_protected(range.start, range.len, false);
  errno = error;
  return result;
}

[[gnu::constructor]] void loaded() {
  // The supervisor only asks whether this library is loaded.
  if (const char* hello = getenv("OBORO_KVM_HELLO")) (void)!write(atoi(hello), "!", 1);
  if (!getenv("OBORO_KVM")) return;
  // If there are two copies of this file, the first one traces, and the other passes everything on. (The flag's address
  // would not tell them apart: in both copies it is the first one's.)
  Dl_info first{}, own{};
  if (!dladdr(dlsym(RTLD_DEFAULT, "oboro_kvm_loaded"), &first) || !dladdr(&process, &own) ||
      first.dli_fbase != own.dli_fbase)
    return;
  process = new Process;
}

}  // namespace
}  // namespace oboro::tracer

extern "C" [[gnu::visibility("default")]] int ioctl(int fd, unsigned long request, ...) noexcept {
  using namespace oboro::tracer;
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if (!process) return next_ioctl(fd, request, argument);
  if (_IOC_TYPE(request) == KVMIO) return on_kvm_ioctl(fd, request, argument);
  if (request == UFFDIO_REGISTER || request == UFFDIO_UNREGISTER) return on_protection(fd, request, argument);
  return next_ioctl(fd, request, argument);
}
