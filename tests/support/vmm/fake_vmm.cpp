// A VMM whose KVM is made up (fake_kvm.cpp), for preload_test.cpp: what the guest does is a function here. The argument
// says which part to play; "ok" on standard output: all was as a VMM expects it.

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <linux/kvm.h>
#include <random>
#include <string>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr size_t kRunSize = 12288;
constexpr uint8_t kTrapPort = 0xe5;

std::function<int(kvm_run&)> guest;  // one KVM_RUN
kvm_run* running;                    // that of the vCPU whose turn it is
unsigned entries;
bool shares_registers = true;

#define CHECK(condition)                                                                        \
  do {                                                                                          \
    if (!(condition)) {                                                                         \
      fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
      exit(9);                                                                                  \
    }                                                                                           \
  } while (false)

int memory_file(size_t size) {
  const int fd = memfd_create("fake", MFD_CLOEXEC);
  CHECK(fd >= 0 && ftruncate(fd, static_cast<off_t>(size)) == 0);
  return fd;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int fake_kernel_ioctl(int, unsigned long request, void* argument) {
  switch (request) {
    case KVM_CREATE_VM:
      return memory_file(4096);
    case KVM_CREATE_VCPU:
      return memory_file(kRunSize);
    case KVM_GET_VCPU_MMAP_SIZE:
      return kRunSize;
    case KVM_CHECK_EXTENSION:
      if (reinterpret_cast<uintptr_t>(argument) == KVM_CAP_SYNC_REGS)
        return shares_registers ? KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS : 0;
      return 64;
    case KVM_RUN:
      if (!running) break;
      ++entries;
      return guest(*running);
    case KVM_GET_SREGS:
      *static_cast<kvm_sregs*>(argument) = running->s.regs.sregs;
      return 0;
    case KVM_GET_API_VERSION:
      break;
    default:
      return 0;
  }
  errno = EBADF;
  return -1;
}

namespace {

struct Machine {
  int kvm = memory_file(4096);
  int vm = -1, vcpu = -1;
  kvm_run* run = nullptr;
  std::byte* memory = nullptr;
  static constexpr size_t kMemory = 4 << 20;

  Machine() {
    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    CHECK(vm >= 0);
    memory =
        static_cast<std::byte*>(mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    kvm_userspace_memory_region region{};
    region.memory_size = kMemory;
    region.userspace_addr = reinterpret_cast<uint64_t>(memory);
    CHECK(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0);
    vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    CHECK(vcpu >= 0);
    run = static_cast<kvm_run*>(mmap(nullptr, kRunSize, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0));
    CHECK(run != MAP_FAILED);
  }
  int enter() {
    running = run;
    return ioctl(vcpu, KVM_RUN, 0);
  }
};

int out(kvm_run& run, uint8_t port, uint64_t rip) {
  run.exit_reason = KVM_EXIT_IO;
  run.io.direction = KVM_EXIT_IO_OUT;
  run.io.port = port;
  run.io.size = 1;
  run.io.count = 1;
  run.s.regs.regs.rip = rip;
  return 0;
}

// Not a VMM at all.
void ordinary() {
  int pipe_ends[2];
  CHECK(pipe(pipe_ends) == 0 && write(pipe_ends[1], "abc", 3) == 3);
  int waiting = 0;
  CHECK(ioctl(pipe_ends[0], FIONREAD, &waiting) == 0 && waiting == 3);
  CHECK(ioctl(pipe_ends[0], KVM_RUN, 0) == -1);
  CHECK(ioctl(-1, KVM_GET_API_VERSION, 0) == -1);
  CHECK(getenv("OBORO_KVM"));
}

// What KVM_RUN returns is what the VMM gets, once for each call of it.
void errors() {
  Machine machine;
  for (const int error : {EINTR, EAGAIN, EFAULT, EIO}) {
    guest = [&](kvm_run&) {
      errno = error;
      return -1;
    };
    CHECK(machine.enter() == -1 && errno == error);
  }
  CHECK(entries == 4);
  // A kick that came before the entry.
  machine.run->immediate_exit = 1;
  guest = [&](kvm_run& run) {
    CHECK(run.immediate_exit == 1);
    errno = EINTR;
    return -1;
  };
  CHECK(machine.enter() == -1 && errno == EINTR && machine.run->immediate_exit == 1);
}

// The guest's own use of the port that hooks use, from anywhere.
void trap_port() {
  Machine machine;
  for (const uint64_t rip : {0x7c00ULL, 0xffffffff81000000ULL, 0xffffffffc0000005ULL, ~0ULL}) {
    guest = [&](kvm_run& run) { return out(run, kTrapPort, rip); };
    entries = 0;
    machine.run->exit_reason = 0;
    CHECK(machine.enter() == 0 && entries == 1);
    CHECK(machine.run->exit_reason == KVM_EXIT_IO && machine.run->io.port == kTrapPort);
    CHECK(machine.run->s.regs.regs.rip == rip);
  }
}

// Exits, registers and memory without any sense, in the kernel's area: they are looked at, and are the VMM's.
void nonsense() {
  Machine machine;
  std::mt19937_64 random(1);
  for (size_t i = 0; i < Machine::kMemory; i += sizeof(uint64_t)) {
    // Often what looks like an entry of a page table that leads to somewhere in this memory.
    const uint64_t value =
        random() % 8 == 0 ? (random() % Machine::kMemory & ~0xfffULL) | (random() & 0x1ff) : random();
    memcpy(machine.memory + i, &value, sizeof value);
  }
  for (int i = 0; i < 20000; ++i) {
    guest = [&](kvm_run& run) {
      run.exit_reason = static_cast<uint32_t>(random() % 40);
      run.io.direction = random() % 2;
      run.io.size = 1 << random() % 3;
      run.io.port = random() % 2 ? kTrapPort : static_cast<uint16_t>(random());
      run.io.count = static_cast<uint32_t>(random() % 3);
      auto* registers = reinterpret_cast<uint64_t*>(&run.s.regs.regs);
      for (size_t word = 0; word < sizeof run.s.regs.regs / sizeof(uint64_t); ++word) registers[word] = random();
      run.s.regs.regs.rip = random() % 4 ? 0xffffffff80000000 | random() % 0x40000000 : random() | 1ULL << 63;
      run.s.regs.sregs.cr3 = random() % 2 ? random() % Machine::kMemory & ~0xfffULL : random();
      run.s.regs.sregs.cr4 = random();
      run.s.regs.sregs.efer = random();
      run.s.regs.sregs.cs.selector = 0x10;
      run.s.regs.sregs.gs.base = random();
      return 0;
    };
    entries = 0;
    CHECK(machine.enter() == 0 && entries == 1);
  }
}

// Programs run before a kernel was seen: the tracer asks whether to go on, and does.
void programs_first() {
  Machine machine;
  guest = [](kvm_run& run) {
    run.exit_reason = KVM_EXIT_MMIO;
    run.s.regs.regs.rip = 0x401000;
    run.s.regs.sregs.cs.selector = 0x33;
    return 0;
  };
  for (int i = 0; i < 3; ++i) CHECK(machine.enter() == 0 && machine.run->exit_reason == KVM_EXIT_MMIO);
  CHECK(entries == 3);
}

void two_machines() {
  Machine first, second;
  guest = [](kvm_run& run) { return out(run, kTrapPort, 0x1000); };
  CHECK(second.enter() == 0 && first.enter() == 0 && entries == 2);
  CHECK(ioctl(second.vm, KVM_CREATE_VCPU, 1) >= 0);
}

// A guest that runs on by itself, for as long as nobody ends it, within bounds.
void runs() {
  Machine machine;
  guest = [](kvm_run&) {
    usleep(1000);
    errno = EINTR;
    return -1;
  };
  for (int i = 0; i < 20000; ++i) CHECK(machine.enter() == -1);
}

// A child of the VMM (a helper, a shell) is not to be traced, and gets nothing that is the tracer's.
void child() {
  const std::string words = getenv("OBORO_KVM"), preload = getenv("LD_PRELOAD");
  const std::string first = preload.substr(0, preload.find(':')), others = preload.substr(preload.find(':') + 1);
  CHECK(first.ends_with("oboro-kvm.so"));
  Machine machine;
  CHECK(!getenv("OBORO_KVM"));
  CHECK(getenv("LD_PRELOAD") == others);  // which are not the tracer's
  int descriptors = 0;
  for (size_t at = 0; (at = words.find_first_of("=:", at)) != std::string::npos;) {
    const char* begin = words.c_str() + ++at;
    char* end = nullptr;
    const int fd = static_cast<int>(strtol(begin, &end, 10));
    if (end == begin) continue;  // not a descriptor
    ++descriptors;
    const int flags = fcntl(fd, F_GETFD);
    if (flags >= 0 && !(flags & FD_CLOEXEC)) {
      fprintf(stderr, "a child would get descriptor %d of %s\n", fd, words.c_str());
      exit(9);
    }
  }
  CHECK(descriptors == 9);  // five, and the proxy's four
}

}  // namespace

int main(int argc, char** argv) {
  const std::string part = argc > 1 ? argv[1] : "";
  if (part == "no-shared-registers") {
    shares_registers = false;
    Machine machine;
  }
  for (const auto& [name, play] :
       std::initializer_list<std::pair<const char*, void (*)()>>{{"ordinary", ordinary},
                                                                 {"errors", errors},
                                                                 {"trap-port", trap_port},
                                                                 {"nonsense", nonsense},
                                                                 {"programs-first", programs_first},
                                                                 {"runs", runs},
                                                                 {"two-machines", two_machines},
                                                                 {"child", child}}) {
    if (part != name) continue;
    play();
    puts("ok");
    fflush(stdout);
    return 0;
  }
  return 8;
}
