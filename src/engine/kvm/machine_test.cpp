// The machine between a VMM and a KVM that are made up here.

#include "engine/kvm/machine.h"

#include <atomic>
#include <cerrno>
#include <functional>
#include <gtest/gtest.h>
#include <mutex>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <thread>
#include <time.h>
#include <unistd.h>
#include <vector>

#include "engine/physical_writer.h"
#include "tests/support/engine/memory_region.h"

namespace oboro::engine::kvm {
namespace {

constexpr size_t kRunSize = 12288;
std::function<int(int, unsigned long, void*)> kvm;
int fake_ioctl(int fd, unsigned long request, void* argument) { return kvm(fd, request, argument); }

class MachineTest : public testing::Test {
 protected:
  MachineTest() : machine(100, fake_ioctl) {
    install_kick_signal();
    kvm = [](int, unsigned long, void*) { return 0; };
  }
  KvmVcpu& add() {
    const int fd = memfd_create("vcpu", MFD_CLOEXEC);
    EXPECT_EQ(ftruncate(fd, kRunSize), 0);
    const Result<KvmVcpu*> vcpu = machine.add_vcpu(fd, kRunSize);
    EXPECT_TRUE(vcpu);
    return **vcpu;
  }
  int set_region(uint32_t slot, uint64_t start, void* host, uint64_t size, uint32_t flags = 0) {
    kvm_userspace_memory_region region = fake::memory_region(slot, start, size, host, flags);
    return machine.set_memory_region(KVM_SET_USER_MEMORY_REGION, &region);
  }
  // A byte of the guest's memory; -1: there is none.
  int byte_at(uint64_t at) {
    std::byte byte{};
    return machine.memory().read(Gpa(at), &byte, 1) ? static_cast<int>(byte) : -1;
  }
  Machine machine;
};

TEST_F(MachineTest, WhatKvmRunReturnsIsTheVmms) {
  KvmVcpu& vcpu = add();
  EXPECT_TRUE(vcpu.run().kvm_valid_regs & KVM_SYNC_X86_REGS);
  EXPECT_EQ(machine.enter(vcpu), 0);
  for (const int error : {EINTR, EAGAIN, EFAULT}) {
    kvm = [&](int, unsigned long, void*) {
      errno = error;
      return -1;
    };
    EXPECT_EQ(machine.enter(vcpu), -1);
    EXPECT_EQ(errno, error);
  }
}

TEST_F(MachineTest, AKickOfTheVmmIsNotEaten) {
  KvmVcpu& vcpu = add();
  vcpu.run().immediate_exit = 1;
  kvm = [&](int, unsigned long, void*) {
    errno = EINTR;
    return -1;
  };
  EXPECT_EQ(machine.enter(vcpu), -1);
  EXPECT_EQ(vcpu.run().immediate_exit, 1);
}

// vCPUs run until somebody kicks them.
TEST_F(MachineTest, WhileStoppedNobodyRuns) {
  KvmVcpu* vcpus[] = {&add(), &add(), &add()};
  std::atomic<bool> over{false};
  std::atomic<int> inside{0};
  std::atomic<uint64_t> entries{0};
  kvm = [&](int fd, unsigned long request, void*) {
    if (request != KVM_RUN) return 0;
    KvmVcpu* self = vcpus[0];
    for (KvmVcpu* vcpu : vcpus)
      if (vcpu->fd() == fd) self = vcpu;
    ++inside;
    ++entries;
    auto& kicked = self->run().immediate_exit;
    while (!std::atomic_ref(kicked).load() && !over) usleep(10);
    --inside;
    errno = EINTR;
    return -1;
  };
  std::vector<std::thread> threads;
  for (KvmVcpu* vcpu : vcpus)
    threads.emplace_back([&, vcpu] {
      while (!over) {
        EXPECT_EQ(machine.enter(*vcpu), -1);
        EXPECT_EQ(errno, EINTR);
      }
    });
  for (int i = 0; i < 50; ++i) {
    while (inside < 3) usleep(10);
    {
      const Machine::Stopped stopped(machine, nullptr);
      EXPECT_EQ(inside, 0);
      const uint64_t before = entries;
      usleep(200);
      EXPECT_EQ(entries, before);
    }
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  // A kick that was on its way when its vCPU came out is seen by the next entry. That entry is in vain, and only that
  // one.
  for (KvmVcpu* vcpu : vcpus) {
    std::thread([&] { EXPECT_EQ(machine.enter(*vcpu), -1); }).join();
    EXPECT_FALSE(vcpu->run().immediate_exit) << "every entry from here on would be in vain";
  }
}

// Signals of the kick's kind are queued one by one: a vCPU that gets no processor must not find hundreds.
TEST_F(MachineTest, WhoIsSlowToComeOutIsKickedSeldom) {
  KvmVcpu& vcpu = add();
  std::atomic<bool> inside{false};
  int kicks = 0;
  kvm = [&](int, unsigned long request, void*) {
    if (request != KVM_RUN) return 0;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    inside = true;
    int number = 0;
    const timespec longest{30, 0}, at_once{0, 0};
    for (const timespec* wait = &longest;; wait = &at_once) {
      const int taken = sigtimedwait(&all, nullptr, wait);
      if (taken < 0) break;
      number = taken;
      if (++kicks == 1) usleep(20000);  // for as long as hundreds would take
    }
    if (number) pthread_kill(pthread_self(), number);  // those taken did not reach the handler
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    errno = EINTR;
    return -1;
  };
  std::thread thread([&] { EXPECT_EQ(machine.enter(vcpu), -1); });
  while (!inside) usleep(10);
  { const Machine::Stopped stopped(machine, nullptr); }
  thread.join();
  EXPECT_GE(kicks, 1);
  EXPECT_LE(kicks, 10);
}

// Two vCPUs want to stop the rest at the same time, and each is one of the rest to the other.
TEST_F(MachineTest, TwoMayStopEachOther) {
  KvmVcpu* vcpus[] = {&add(), &add()};
  std::vector<std::thread> threads;
  std::atomic<int> stopping{0};
  std::mutex changing;
  for (KvmVcpu* vcpu : vcpus)
    threads.emplace_back([&, vcpu] {
      for (int i = 0; i < 500; ++i) {
        const Machine::Handling handling(*vcpu);
        (void)machine.enter(*vcpu);
        std::unique_lock<std::mutex> lock;
        {
          const Machine::NotHandling waiting(*vcpu);
          lock = std::unique_lock(changing);
        }
        const Machine::Stopped stopped(machine, vcpu);
        EXPECT_EQ(++stopping, 1);
        --stopping;
      }
    });
  for (std::thread& thread : threads) thread.join();
}

// A handler wants to stop the rest, while somebody who waits for that handler is stopping all.
TEST_F(MachineTest, WhoIsToBeStoppedMayWantToStopTheRest) {
  KvmVcpu& vcpu = add();
  std::atomic<bool> handling{false};
  std::thread thread([&] {
    const Machine::Handling handler(vcpu);
    handling = true;
    usleep(20000);  // the other is stopping all by now; if not, nothing is shown
    const Machine::Stopped stopped(machine, &vcpu);
  });
  while (!handling) usleep(10);
  { const Machine::Stopped stopped(machine, nullptr); }
  thread.join();
}

// A vCPU handles from the moment at which KVM_RUN returns; there is no moment between that and the handler.
TEST_F(MachineTest, WhileStoppedNobodyHandles) {
  KvmVcpu& vcpu = add();
  std::atomic<bool> over{false};
  std::atomic<int> handling{0};
  uint64_t shared = 0;  // a race, to ThreadSanitizer, if two use it at the same time
  kvm = [&](int, unsigned long request, void*) {
    if (request == KVM_RUN) ++handling;
    return 0;
  };
  std::thread thread([&] {
    while (!over) {
      const Machine::Handling in(vcpu);
      for (int i = 0; i < 3; ++i) {
        (void)machine.enter(vcpu);
        usleep(20);
        ++shared;
        --handling;
      }
    }
  });
  for (int i = 0; i < 200; ++i) {
    const Machine::Stopped stopped(machine, nullptr);
    EXPECT_EQ(handling, 0);
    const uint64_t before = shared;
    usleep(100);
    EXPECT_EQ(shared, before);
  }
  over = true;
  thread.join();
}

TEST_F(MachineTest, ReadOnlyMemoryIsReadOnly) {
  std::byte page[4096] = {};
  EXPECT_EQ(set_region(3, 0x100000, page, sizeof page, KVM_MEM_READONLY), 0);
  page[5] = std::byte{42};
  EXPECT_EQ(byte_at(0x100005), 42);
  const PhysicalWriter writer(machine.memory());
  EXPECT_FALSE(writer.may_write(Gpa(0x100005), 1));
  EXPECT_FALSE(writer.write(Gpa(0x100005), std::as_bytes(std::span("x", 1))));
  EXPECT_EQ(byte_at(0x100005), 42);
}

TEST_F(MachineTest, MemoryComesAndGoes) {
  std::byte page[8192] = {};
  page[5] = std::byte{42};
  EXPECT_EQ(set_region(3, 0x100000, page, sizeof page), 0);
  EXPECT_EQ(byte_at(0x100005), 42);
  const PhysicalWriter writer(machine.memory());
  EXPECT_TRUE(writer.may_write(Gpa(0x100005), 8187));
  EXPECT_FALSE(writer.may_write(Gpa(0x100005), 8188));
  EXPECT_TRUE(writer.write(Gpa(0x100006), std::as_bytes(std::span("x", 1))));
  EXPECT_EQ(page[6], std::byte{'x'});
  EXPECT_TRUE(machine.map().overlaps(0x101fff, 1));
  EXPECT_FALSE(machine.map().overlaps(0x102000, 1));
  EXPECT_EQ(set_region(1 << 16 | 3, 0x500000, page, sizeof page), 0);
  EXPECT_EQ(byte_at(0x500000), -1) << "what only system management mode sees";
  EXPECT_EQ(set_region(3, 0x100000, nullptr, 0), 0);
  EXPECT_EQ(byte_at(0x100005), -1);
  EXPECT_FALSE(writer.may_write(Gpa(0x100005), 1));
  kvm = [](int, unsigned long, void*) {
    errno = EINVAL;
    return -1;
  };
  EXPECT_EQ(set_region(4, 0, page, sizeof page), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(byte_at(0), -1) << "KVM refused it";
}

TEST_F(MachineTest, MemoryGoesOnlyWhenNobodyReadsIt) {
  KvmVcpu& vcpu = add();
  std::byte page[4096];
  set_region(0, 0, page, sizeof page);
  std::atomic<bool> reading{false}, gone{false};
  std::thread handler([&] {
    const Machine::Handling handling(vcpu);
    reading = true;
    for (int i = 0; i < 50; ++i) {
      usleep(100);
      EXPECT_FALSE(gone);
    }
  });
  while (!reading) usleep(10);
  set_region(0, 0, nullptr, 0);
  gone = true;
  handler.join();
}

TEST_F(MachineTest, MemoryGoesOnlyWhenNoOtherThreadReadsIt) {
  std::byte page[4096];
  set_region(0, 0, page, sizeof page);
  std::atomic<bool> reading{false}, gone{false};
  std::thread reader([&] {
    const Machine::Reading in(machine);
    reading = true;
    for (int i = 0; i < 50; ++i) {
      usleep(100);
      EXPECT_FALSE(gone);
    }
  });
  while (!reading) usleep(10);
  set_region(0, 0, nullptr, 0);
  gone = true;
  reader.join();
}

TEST_F(MachineTest, ASlotOfOursIsOutOfTheWay) {
  std::byte page[4096];
  const uint64_t first = (uint64_t{1} << 36) - 16 * sizeof page;
  std::vector<kvm_userspace_memory_region> asked;
  kvm = [&](int, unsigned long request, void* argument) {
    if (request == KVM_CHECK_EXTENSION) return 64;
    asked.push_back(*static_cast<kvm_userspace_memory_region*>(argument));
    return 0;
  };
  std::byte guest[4096];
  set_region(63, first, guest, sizeof guest);
  const Result<Gpa> at = machine.add_slot(page, true);
  ASSERT_TRUE(at);
  EXPECT_EQ(at->value, (uint64_t{1} << 37) - 16 * sizeof page);
  EXPECT_EQ(asked.back().slot, 62u);
  EXPECT_EQ(asked.back().flags, uint32_t{KVM_MEM_READONLY});
  EXPECT_EQ(byte_at(at->value), -1) << "what we write is not read as the guest's";
}

TEST_F(MachineTest, BreakpointsOfTheVmmGoBeforeOurs) {
  KvmVcpu& vcpu = add();
  std::vector<kvm_guest_debug> set;
  kvm = [&](int, unsigned long request, void* argument) {
    if (request == KVM_SET_GUEST_DEBUG) set.push_back(*static_cast<kvm_guest_debug*>(argument));
    return 0;
  };
  const uint64_t address = 0xffffffff81234567;
  vcpu.set_breakpoints(&address, 1);
  machine.enter(vcpu);
  ASSERT_EQ(set.size(), 1u);
  EXPECT_EQ(set[0].control, uint32_t{KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP});
  EXPECT_EQ(set[0].arch.debugreg[0], address);
  EXPECT_EQ(set[0].arch.debugreg[7], 0x402u);
  machine.enter(vcpu);
  EXPECT_EQ(set.size(), 1u) << "once";

  kvm_guest_debug none{};
  vcpu.vmm_set_debug(&none);
  machine.enter(vcpu);
  ASSERT_EQ(set.size(), 2u);
  EXPECT_EQ(set[1].arch.debugreg[0], address) << "a VMM that debugs nothing does not take ours away";
  kvm_guest_debug gdb{};
  gdb.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  gdb.arch.debugreg[0] = 0x1000;
  vcpu.vmm_set_debug(&gdb);
  machine.enter(vcpu);
  ASSERT_EQ(set.size(), 3u);
  EXPECT_EQ(set[2].arch.debugreg[0], 0x1000u);
  vcpu.set_breakpoints(nullptr, 0);
  machine.enter(vcpu);
  ASSERT_EQ(set.size(), 4u);
  EXPECT_EQ(set[3].arch.debugreg[0], 0x1000u);
}

TEST_F(MachineTest, RegistersGoBackWithTheNextEntry) {
  KvmVcpu& vcpu = add();
  kvm_regs& registers = vcpu.run().s.regs.regs;
  registers.rsp = 0x1000;
  registers.rip = 0x2000;
  registers.rdi = 7;
  EXPECT_EQ(arch::argument(vcpu, 0), 7u);
  EXPECT_EQ(vcpu.run().kvm_dirty_regs, 0u);
  arch::set_result(vcpu, UINT64_MAX);
  EXPECT_EQ(registers.rax, UINT64_MAX);
  EXPECT_EQ(vcpu.run().kvm_dirty_regs, uint64_t{KVM_SYNC_X86_REGS});
  for (size_t i = 0; i < arch::kArgumentCount; ++i) {
    arch::set_argument(vcpu, i, 100 + i);
    EXPECT_EQ(arch::argument(vcpu, i), 100 + i);
  }
  arch::use_frame(vcpu, {Gva(0x1008)});
  EXPECT_EQ(registers.rsp, 0x1008u);
  vcpu.run().kvm_dirty_regs = 0;
  vcpu.set_rip(0x3000);
  EXPECT_EQ(registers.rip, 0x3000u);
  EXPECT_EQ(vcpu.run().kvm_dirty_regs, uint64_t{KVM_SYNC_X86_REGS});
}

}  // namespace
}  // namespace oboro::engine::kvm
