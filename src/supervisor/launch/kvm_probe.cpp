#include "supervisor/launch/kvm_probe.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <span>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

namespace oboro::supervisor {
namespace {

constexpr int kTimeLimitMs = 10000;
constexpr double kMostTimesSlower = 50;  // an interpreter is some hundred to a thousand times slower
constexpr double kAllowance = 0.02;      // seconds that the first entry may cost
constexpr size_t kMemory = 0x10000;
constexpr uint64_t kStart = 0x1000;
constexpr uint16_t kDonePort = 0xe5;

constexpr uint32_t kRounds = 500000;  // 0x7a120
// The program goes from real mode to protected mode, as a kernel does, and then through kRounds rounds of a loop.
constexpr uint8_t kProgram[] = {
    0x0f, 0x20,      0xc0,                    // mov %cr0, %eax
    0x66, 0x83,      0xc8, 0x01,              // or $1, %eax
    0x0f, 0x22,      0xc0,                    // mov %eax, %cr0
    0x66, 0xb9,      0x20, 0xa1, 0x07, 0x00,  // mov $kRounds, %ecx
    0x66, 0x49,                               // again: dec %ecx
    0x75, 0xfc,                               // jnz again
    0x0f, 0xa2,                               // cpuid
    0xe6, kDonePort,                          // out %al, $port
    0xf4,                                     // hlt
};

// The child's exit status.
enum Outcome : int { works, no_open, no_version, no_vm, no_registers, no_run, other_exit, too_slow };
constexpr const char* kWhy[] = {
    "",
    "/dev/kvm cannot be opened",
    "/dev/kvm speaks another version of the interface",
    "KVM cannot make a virtual machine",
    "this KVM does not share registers with its VMM (KVM_CAP_SYNC_REGS)",
    "KVM cannot run a virtual machine",
    "KVM did not run a test program to its end",
    "/dev/kvm is there, but runs an ordinary program many times slower than the host does",
};

// CPU time, so that other programs on the host do not count.
double now() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

double time_of_loop_outside() {
  const double begin = now();
  uint32_t count = kRounds;
  asm volatile("1: dec %0; jnz 1b" : "+r"(count) : : "cc");
  return now() - begin;
}

Outcome try_kvm() {
  const UniqueFd kvm(open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm) return no_open;
  if (ioctl(kvm.get(), KVM_GET_API_VERSION, 0) != KVM_API_VERSION) return no_version;
  const UniqueFd vm(ioctl(kvm.get(), KVM_CREATE_VM, 0));
  void* memory = mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!vm || memory == MAP_FAILED) return no_vm;
  std::memcpy(static_cast<char*>(memory) + kStart, kProgram, sizeof kProgram);
  kvm_userspace_memory_region region{};
  region.memory_size = kMemory;
  region.userspace_addr = reinterpret_cast<uint64_t>(memory);
  if (ioctl(vm.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0) return no_vm;
  if (!(ioctl(kvm.get(), KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_REGS)) return no_registers;
  const UniqueFd vcpu(ioctl(vm.get(), KVM_CREATE_VCPU, 0));
  const int size = ioctl(kvm.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (!vcpu || size < static_cast<int>(sizeof(kvm_run))) return no_vm;
  void* shared = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.get(), 0);
  if (shared == MAP_FAILED) return no_vm;
  kvm_sregs segments{};
  if (ioctl(vcpu.get(), KVM_GET_SREGS, &segments) != 0) return no_vm;
  segments.cs.base = 0;
  segments.cs.selector = 0;
  kvm_regs registers{};
  registers.rip = kStart;
  registers.rflags = 2;
  if (ioctl(vcpu.get(), KVM_SET_SREGS, &segments) != 0 || ioctl(vcpu.get(), KVM_SET_REGS, &registers) != 0)
    return no_vm;
  const double outside = std::max(time_of_loop_outside(), time_of_loop_outside());
  const double begin = now();
  if (ioctl(vcpu.get(), KVM_RUN, 0) != 0) return no_run;
  if (now() - begin > kMostTimesSlower * outside + kAllowance) return too_slow;
  const auto* run = static_cast<const kvm_run*>(shared);
  return run->exit_reason == KVM_EXIT_IO && run->io.port == kDonePort ? works : other_exit;
}

}  // namespace

Result<void> probe_kvm() {
  if (access("/dev/kvm", R_OK | W_OK) != 0) return Error{Errc::io, fmt::format("/dev/kvm: {}", strerror(errno))};
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return Error{Errc::io, fmt::format("fork: {}", strerror(errno))};
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(getppid() == parent ? try_kvm() : no_run);
  }
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  pollfd ended{pidfd.get(), POLLIN, 0};
  while (poll(&ended, 1, kTimeLimitMs) < 0 && errno == EINTR) {
  }
  const bool in_time = ended.revents & POLLIN;
  if (!in_time) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time)
    return Error{Errc::unsupported,
                 fmt::format("/dev/kvm is there, but a short test program was not done in {} s", kTimeLimitMs / 1000)};
  if (WIFSIGNALED(status))
    return Error{Errc::io, fmt::format("the probe of KVM was ended by signal {}", WTERMSIG(status))};
  const auto outcome = static_cast<size_t>(WEXITSTATUS(status));
  if (outcome == works) return {};
  return Error{Errc::unsupported, outcome < std::size(kWhy) ? kWhy[outcome] : "KVM could not be tried"};
}

}  // namespace oboro::supervisor
