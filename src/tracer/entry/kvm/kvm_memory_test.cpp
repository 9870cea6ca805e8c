// The VMM changes the guest's memory while the hooks are in.

#include <algorithm>
#include <climits>
#include <map>
#include <sys/mman.h>

#include "guest/ftrace.h"
#include "tracer/entry/kvm/kvm_session_test.h"

namespace oboro::tracer {
namespace {

constexpr uint32_t kLogged = KVM_MEM_LOG_DIRTY_PAGES;
constexpr int kShortly = 200;  // ms in which nothing happens

class KvmMemoryTest : public KvmSessionTest {
 protected:
  KvmMemoryTest() { with_service = false; }
  uint64_t incomplete() { return session().counters().incomplete; }
  std::vector<std::byte> image() {
    const auto bytes = guest.memory.bytes();
    return {bytes.begin(), bytes.end()};
  }
  // ftrace knows the NOP of a hooked function.
  void SetUp() override {
    KvmSessionTest::SetUp();
    const Gva group = guest.allocate();
    record = guest.allocate();
    guest.set(record, Field::dyn_ftrace_ip, guest.symbol(Symbol::fn_file_open));
    guest.set(group, Field::ftrace_page_records, record);
    guest.set(group, Field::ftrace_page_index, uint32_t{1});
    guest.write(guest.symbol(Symbol::ftrace_pages_start), group);
  }
  bool marked_for_ftrace() { return guest.get(record, Field::dyn_ftrace_flags) & guest::kFtraceDisabled; }
  // What the VMM does with its own mapping of the RAM.
  void protect_ram(int how) {
    const auto bytes = guest.memory.bytes();
    ASSERT_EQ(mprotect(bytes.data(), bytes.size(), how), 0);
  }
  // Notes whether this hook is in when KVM is told to log the guest's memory.
  void watch(Symbol function) {
    on_region = [this, function](const kvm_userspace_memory_region& region) {
      if (region.flags == kLogged) hooked_when_logged = hooked(function);
      return 0;
    };
  }
  // Sends a vCPU into the guest, as a VMM does until something has happened there.
  std::future<int> goes_on(Cpu& cpu) {
    cpu.exit_reason = KVM_EXIT_MMIO;
    return std::async(std::launch::async, [this, &cpu] {
      int result = 0;
      while ((result = session().run(*cpu.vcpu)) != 0 && errno == EINTR) {
      }
      is_back = true;
      return result;
    });
  }
  Gva record;
  std::optional<bool> hooked_when_logged;
  std::atomic<bool> is_back{false};
};

class SavedMemoryTest : public KvmMemoryTest, public testing::WithParamInterface<const char*> {
 protected:
  SavedMemoryTest() { hooks = GetParam(); }
};

TEST_P(SavedMemoryTest, NothingOfOursIsInIt) {
  exit_somewhere(cpus[0]);
  guest.write(guest.symbol(Symbol::system_state), uint32_t{1});
  const std::vector<std::byte> untraced = image();
  exit_somewhere(cpus[0]);
  ASSERT_TRUE(told<link::Armed>());
  ASSERT_TRUE(hooked(Symbol::fn_file_open));
  ASSERT_TRUE(marked_for_ftrace());
  const std::vector<std::byte> traced = image();
  std::vector<std::byte> saved;
  on_region = [&](const kvm_userspace_memory_region& region) {
    if (region.flags == kLogged) saved = image();
    return 0;
  };
  EXPECT_EQ(set_ram(kLogged), 0);
  EXPECT_TRUE(saved == untraced) << "in it when KVM was told to log it";
  EXPECT_EQ(set_ram(), 0);
  EXPECT_TRUE(image() == traced) << "not put back";
  EXPECT_EQ(incomplete(), 0u) << "nothing ran meanwhile";
  // A snapshot in the background: the VMM protects its own memory.
  const auto bytes = guest.memory.bytes();
  const auto host = reinterpret_cast<uint64_t>(bytes.data());
  session().memory_protected(host + bytes.size(), 4096, true);
  EXPECT_TRUE(image() == traced) << "other memory";
  session().memory_protected(host, bytes.size(), true);
  EXPECT_TRUE(image() == untraced);
  session().memory_protected(host, bytes.size(), false);
  EXPECT_TRUE(image() == traced);
}

INSTANTIATE_TEST_SUITE_P(Ways, SavedMemoryTest, testing::Values("text", "filter"),
                         [](const auto& way) { return std::string(way.param); });

// The VMM takes the RAM away (a guest can have it do so with some of it), and it is no memory of the process any more.
TEST_F(KvmMemoryTest, MemoryThatIsGoneIsNotTouched) {
  boot();
  EXPECT_EQ(set_region(0, 0, 0, nullptr), 0);
  protect_ram(PROT_NONE);
  command_detach();
  EXPECT_TRUE(told<link::Detached>());
  protect_ram(PROT_READ | PROT_WRITE);
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
}

TEST_F(KvmMemoryTest, MemoryThatMayNotBeWrittenIsNot) {
  boot();
  EXPECT_TRUE(marked_for_ftrace());
  EXPECT_EQ(set_region(0, 0, 0, nullptr), 0);
  EXPECT_EQ(set_ram(KVM_MEM_READONLY), 0);
  protect_ram(PROT_READ);
  command_detach();
  EXPECT_TRUE(told<link::Detached>());
  protect_ram(PROT_READ | PROT_WRITE);
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
  EXPECT_TRUE(marked_for_ftrace());
}

TEST_F(KvmMemoryTest, ADisplaysMemoryIsLoggedInOrdinaryRunning) {
  boot();
  std::vector<std::byte> display(1 << 16);
  EXPECT_EQ(set_region(1, 0xfd000000, display.size(), display.data(), kLogged), 0);
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
  EXPECT_FALSE(session().machine.paused());
}

TEST_F(KvmMemoryTest, WhatTheGuestDoesWhileItIsSavedIsNotSeenAndThatIsSaid) {
  boot();
  set_ram(kLogged);
  EXPECT_EQ(incomplete(), 0u);
  EXPECT_EQ(end_of(goes_on(cpus[0])), 0);
  EXPECT_EQ(incomplete(), 1u);
  set_ram();
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
  EXPECT_EQ(end_of(goes_on(cpus[0])), 0);
  EXPECT_EQ(incomplete(), 1u);
}

class DenyingMemoryTest : public KvmMemoryTest {
 protected:
  DenyingMemoryTest() { policy.on(policy::Trouble::incomplete) = policy::Reaction::deny; }
};

TEST_F(DenyingMemoryTest, AGuestThatCouldBeRefusedNothingStandsStill) {
  boot();
  set_ram(kLogged);
  EXPECT_FALSE(hooked(Symbol::fn_file_open));
  auto entry = goes_on(cpus[0]);
  usleep(kShortly * 1000);
  EXPECT_FALSE(is_back) << "it went on";
  // Somebody else's pause is another one.
  session().machine.pause();
  session().machine.resume();
  usleep(kShortly * 1000);
  EXPECT_FALSE(is_back) << "it went on";
  set_ram();
  EXPECT_EQ(end_of(std::move(entry)), 0);
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
  EXPECT_EQ(incomplete(), 0u);
}

TEST_F(DenyingMemoryTest, AResetEndsIt) {
  boot();
  set_ram(kLogged);
  cpus[0].sregs.cr0 = 0x60000010;
  cpus[0].sregs.cs.selector = 0xf000;
  session().vcpu_was_reset(*cpus[0].vcpu);
  EXPECT_TRUE(told<link::Reset>());
  EXPECT_FALSE(session().machine.paused());
  set_ram();
  EXPECT_FALSE(hooked(Symbol::fn_file_open));
}

// The hooks would be saved with it.
TEST_F(KvmMemoryTest, AGuestThatStartsWhileItIsSavedIsNotTraced) {
  exit_somewhere(cpus[0]);
  guest.write(guest.symbol(Symbol::system_state), uint32_t{1});
  set_ram(kLogged);
  exit_somewhere(cpus[0]);
  EXPECT_TRUE(told<link::Untraceable>());
  EXPECT_FALSE(hooked(Symbol::fn_file_open));
}

class SavedServiceTest : public KvmMemoryTest {
 protected:
  SavedServiceTest() { with_service = true; }
};

TEST_F(SavedServiceTest, AThreadThatIsInTheGuestsKernelForUsComesBackFirst) {
  boot();
  start_service(1);
  const kvm_regs away = begin_call();
  watch(Symbol::fn_syscall_user_dispatch);
  session().patience = UINT_MAX;
  auto saving = std::async(std::launch::async, [this] { return set_ram(kLogged); });
  usleep(kShortly * 1000);
  EXPECT_TRUE(hooked(Symbol::fn_syscall_user_dispatch));
  EXPECT_EQ(come_back(away).rip, kCaller);
  EXPECT_EQ(end_of(std::move(saving)), 0);
  EXPECT_EQ(hooked_when_logged, false);
}

TEST_F(SavedServiceTest, IfItDoesNotComeBackItsHooksStayAndThatIsSaid) {
  boot();
  start_service(1);
  begin_call();
  watch(Symbol::fn_syscall_user_dispatch);
  session().patience = 3;
  EXPECT_EQ(set_ram(kLogged), 0);
  EXPECT_EQ(hooked_when_logged, true) << "it would come back to what is not there";
  EXPECT_EQ(incomplete(), 2u) << "services are hidden no more; what is saved is of no use";
  set_ram();
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
}

// A KVM that refuses two slots at one place, as the real one does.
class OurSlotTest : public KvmMemoryTest {
 protected:
  static constexpr uint32_t kOurs = 63;  // the highest that this KVM has
  OurSlotTest() { hooks = "filter"; }
  void SetUp() override {
    KvmMemoryTest::SetUp();
    on_region = [this](const kvm_userspace_memory_region& region) {
      const auto in_the_way = [&](const auto& other) {
        return other.first != region.slot && other.second.memory_size &&
               other.second.guest_phys_addr < region.guest_phys_addr + region.memory_size &&
               region.guest_phys_addr < other.second.guest_phys_addr + other.second.memory_size;
      };
      if (region.memory_size && std::any_of(slots.begin(), slots.end(), in_the_way)) {
        errno = EEXIST;
        return -1;
      }
      if (region.slot == kOurs && region.memory_size && full) {
        errno = EINVAL;
        return -1;
      }
      slots[region.slot] = region;
      return 0;
    };
    ASSERT_EQ(set_ram(), 0);
  }
  // Where the kernel's own page tables say that this address is.
  std::optional<uint64_t> place_of(uint64_t address) {
    const auto read = [this](Gpa at) { return session().machine.memory().read_u64(at); };
    const auto found = arch::walk(read, guest.layout.tables, Gva(address));
    return found ? std::optional(found->address.value) : std::nullopt;
  }
  // What the hook of this function jumps to.
  uint64_t stub_of(Symbol function) {
    const Gva at = guest.symbol(function);
    const auto distance = static_cast<int32_t>(guest.word(at + 1));
    return at.value + 5 + static_cast<uint64_t>(int64_t{distance});
  }
  std::map<uint32_t, kvm_userspace_memory_region> slots;
  bool full = false;
  std::vector<std::byte> device = std::vector<std::byte>(4096);
};

TEST_F(OurSlotTest, GivesWayToADevicesMemory) {
  boot();
  const uint64_t stub = stub_of(Symbol::fn_file_open);
  for (uint32_t i = 0; i < 5; ++i) {
    const kvm_userspace_memory_region before = slots[kOurs];
    EXPECT_EQ(place_of(stub), before.guest_phys_addr + (stub & 0x1fffff));
    EXPECT_EQ(set_region(1 + i, before.guest_phys_addr + 0x1000, device.size(), device.data()), 0);
    const kvm_userspace_memory_region after = slots[kOurs];
    EXPECT_NE(after.guest_phys_addr, before.guest_phys_addr);
    EXPECT_EQ(after.userspace_addr, before.userspace_addr);
    EXPECT_EQ(after.flags, before.flags);
    EXPECT_EQ(place_of(stub), after.guest_phys_addr + (stub & 0x1fffff));
  }
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
  EXPECT_EQ(incomplete(), 0u);
}

TEST_F(OurSlotTest, WhereNoPlaceIsLeftTheHooksGoAndTheVmmLives) {
  boot();
  full = true;
  EXPECT_EQ(set_region(1, slots[kOurs].guest_phys_addr, device.size(), device.data()), 0);
  EXPECT_EQ(slots[kOurs].memory_size, 0u);
  EXPECT_FALSE(hooked(Symbol::fn_file_open));
  EXPECT_EQ(incomplete(), 1u);
  EXPECT_FALSE(session().machine.paused());
  // It is not put back for having been saved.
  set_ram(kLogged);
  set_ram();
  EXPECT_FALSE(hooked(Symbol::fn_file_open));
}

class DenyingSlotTest : public OurSlotTest {
 protected:
  DenyingSlotTest() { policy.on(policy::Trouble::incomplete) = policy::Reaction::deny; }
};

TEST_F(DenyingSlotTest, WhereNoPlaceIsLeftAGuestThatCouldBeRefusedNothingStandsStill) {
  boot();
  full = true;
  EXPECT_EQ(set_region(1, slots[kOurs].guest_phys_addr, device.size(), device.data()), 0);
  EXPECT_TRUE(session().machine.paused());
}

// Interrupted in a stub, it sleeps, and has that address on its stack.
TEST_F(OurSlotTest, StubsStayWhereATaskIsInOne) {
  boot();
  const uint64_t stub = stub_of(Symbol::fn_file_open);
  guest.write(Gva(guest.get(tasks[1], Field::task_stack)) + 0x2000, stub + 4);
  set_ram(kLogged);
  EXPECT_FALSE(hooked(Symbol::fn_file_open));
  EXPECT_TRUE(place_of(stub));
  set_ram();
  EXPECT_TRUE(hooked(Symbol::fn_file_open));
  EXPECT_EQ(incomplete(), 0u);
  guest.write(Gva(guest.get(tasks[1], Field::task_stack)) + 0x2000, uint64_t{0});
  set_ram(kLogged);
  EXPECT_FALSE(place_of(stub));
  set_ram();
  EXPECT_TRUE(place_of(stub));
}

}  // namespace
}  // namespace oboro::tracer
