// Stubs run as they do in a guest, but in this process: its memory is the guest's, the OUT of a stop is a fault here.

#include "engine/kvm/filter_slot.h"

#include <asm/prctl.h>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include "tests/support/engine/fake_filter.h"

namespace oboro::engine::kvm {
namespace {

using Op = FilterStep::Op;
using fake::FakeFilter;

constexpr uint8_t kPort = 0xe5;
constexpr uint64_t kCurrent = 16;  // per-CPU offset
volatile uint64_t trap_at = 0;
volatile bool stopped = false;

void on_fault(int, siginfo_t*, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (static_cast<uint64_t>(registers[REG_RIP]) != trap_at) _exit(99);
  stopped = true;
  registers[REG_RIP] += 2;  // as KVM steps over it
}

class Stubs : public testing::Test {
 protected:
  static constexpr size_t kExtra = 8192;

  void SetUp() override {
    // At a place whose addresses fit 32 bits, as they do in a kernel.
    void* low = mmap(nullptr, FilterSlot::kSize + kExtra, PROT_READ | PROT_WRITE | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    ASSERT_NE(low, MAP_FAILED);
    low_ = static_cast<std::byte*>(low);
    words_ = reinterpret_cast<uint64_t*>(low_ + FilterSlot::kSize);
    low_[FilterSlot::kSize + 4096] = std::byte{0xc3};  // the hooked function: ret
    auto slot = FilterSlot::create();
    ASSERT_TRUE(slot);
    slot_ = std::move(*slot);
    slot_->set_base(Gva(address(low_)));
    layout_.current = kCurrent;
    layout_.task_stack = 40;
    layout_.file_dentry = 8, layout_.file_mount = 16, layout_.file_inode = 24;
    layout_.rename_sequence = address(words_), layout_.mount_sequence = address(words_ + 1);
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before_);
    per_cpu_[kCurrent / 8] = address(task_);
    task_[5] = address(stack_);
    syscall(SYS_arch_prctl, ARCH_SET_GS, per_cpu_);
  }
  void TearDown() override {
    sigaction(SIGSEGV, &before_, nullptr);
    munmap(low_, FilterSlot::kSize + kExtra);
  }
  static uint64_t address(const void* at) { return reinterpret_cast<uint64_t>(at); }

  // Whether the stub of `program` stops the vCPU. The interpreter must say the same.
  bool run(const FilterProgram& program, uint64_t first = 0, uint64_t second = 0) {
    slot_->set_base(Gva(address(low_)));
    const auto stub = slot_->place(program, layout_, kPort, Gva(address(low_ + FilterSlot::kSize + 4096)));
    if (!stub) throw std::logic_error("not placed");
    std::memcpy(low_, slot_->memory().data(), FilterSlot::kSize);
    trap_at = stub->trap.value;
    stopped = false;
    note() = 0;
    uint64_t rdi = first, rsi = second, rdx = 3, rcx = 4;
    // A hooked function may be entered with anything in RAX, R10 and R11, and must find its arguments.
    asm volatile("call *%[entry]"
                 : "+D"(rdi), "+S"(rsi), "+d"(rdx), "+c"(rcx)
                 : [entry] "b"(stub->entry.value)
                 : "rax", "r8", "r9", "r10", "r11", "cc", "memory");
    EXPECT_EQ(rdi, first);
    EXPECT_EQ(rsi, second);
    EXPECT_EQ(rdx, 3u);
    EXPECT_EQ(rcx, 4u);
    const uint64_t noted = note();

    FakeFilter::Guest guest;
    guest.word = [](Gva at) {
      uint64_t value;
      std::memcpy(&value, reinterpret_cast<const void*>(at.value), sizeof value);
      return value;
    };
    uint64_t expected_note = 0;
    guest.set_word = [&](Gva at, uint64_t value) {
      EXPECT_EQ(at.value, address(stack_) + kNoteOffset);
      expected_note = value;
    };
    guest.per_cpu = address(per_cpu_);
    guest.arguments = {first, second, 3, 4, 0, 0};
    const bool expected = fake_.run(program, layout_, guest);
    EXPECT_EQ(noted, expected_note);
    EXPECT_EQ(stopped, expected);
    return stopped;
  }
  uint64_t& note() { return stack_[kNoteOffset / 8]; }
  template <typename Fn>
  void both(Fn&& fn) {
    fn(static_cast<Filter&>(*slot_)), fn(static_cast<Filter&>(fake_));
  }

  std::byte* low_ = nullptr;
  uint64_t* words_ = nullptr;
  std::unique_ptr<FilterSlot> slot_;
  FakeFilter fake_;
  FilterLayout layout_;
  struct sigaction before_ {};
  uint64_t per_cpu_[8] = {}, task_[8] = {}, stack_[8] = {}, object_[8] = {};
};

TEST_F(Stubs, StopAndPass) {
  EXPECT_TRUE(run({{Op::stop}}));
  EXPECT_FALSE(run({{Op::pass}}));
  EXPECT_TRUE(run({}));  // undecided
}

TEST_F(Stubs, ProcessesAreExact) {
  const FilterProgram program = {
      {Op::current, kCurrent}, {Op::load32, 8}, {Op::jump_if_process, 0, 4}, {Op::pass}, {Op::stop}};
  const FilterProgram inverse = {
      {Op::current, kCurrent}, {Op::load32, 8}, {Op::jump_unless_process, 0, 4}, {Op::stop}, {Op::pass}};
  for (const uint32_t tgid : {1U, 7U, 8U, 31U, 32U, 63U, 64U, 4242U, (1U << 22) - 1}) {
    task_[1] = 0xa5a5a5a500000000 | tgid;
    EXPECT_FALSE(run(program));
    EXPECT_TRUE(!run(inverse));
    both([&](Filter& filter) { filter.add_process(tgid), filter.add_process(tgid - 1); });
    EXPECT_TRUE(run(program));
    EXPECT_TRUE(run(inverse));
    both([&](Filter& filter) { filter.remove_process(tgid); });
    EXPECT_FALSE(run(program)) << "the neighbour is another one";
    both([&](Filter& filter) { filter.clear(); });
  }
}

TEST_F(Stubs, EverySenderIsOfInterestOnceAllAre) {
  constexpr uint64_t kOrSender = FilterStep::kOrSender;
  const FilterProgram sender = {
      {Op::current, kCurrent}, {Op::load32, 8}, {Op::jump_if_process, kOrSender, 4}, {Op::pass}, {Op::stop}};
  const FilterProgram inverse = {
      {Op::current, kCurrent}, {Op::load32, 8}, {Op::jump_unless_process, kOrSender, 4}, {Op::stop}, {Op::pass}};
  const FilterProgram other = {
      {Op::current, kCurrent}, {Op::load32, 8}, {Op::jump_if_process, 0, 4}, {Op::pass}, {Op::stop}};
  const auto of = [&](uint32_t tgid) { task_[1] = 0xa5a5a5a500000000 | tgid; };
  both([&](Filter& filter) { filter.add_process(7); });
  for (int round = 0; round < 2; ++round) {
    of(7);
    EXPECT_TRUE(run(sender) && run(inverse) && run(other));
    for (const uint32_t tgid : {1U, 8U, (1U << 22) - 1}) {
      of(tgid);
      EXPECT_FALSE(run(sender) || run(inverse) || run(other));
    }
    both([&](Filter& filter) {
      filter.add_senders();
      filter.remove_process(8), filter.remove_process(0), filter.remove_process(1U << 22);
    });
    for (const uint32_t tgid : {1U, 8U, (1U << 22) - 1}) {
      of(tgid);
      EXPECT_TRUE(run(sender) && run(inverse));
      EXPECT_FALSE(run(other)) << "reading and writing cost what they did";
    }
    if (round == 0)
      both([&](Filter& filter) { filter.clear(), filter.add_process(7); });
    else
      both([&](Filter& filter) { filter.remove_senders(), filter.add_process(7); });
  }
  for (const uint32_t tgid : {1U, 8U, (1U << 22) - 1}) {
    of(tgid);
    EXPECT_FALSE(run(sender) || run(inverse) || run(other)) << "senders are of no interest any more";
  }
  of(7);
  EXPECT_TRUE(run(sender) && run(inverse) && run(other));
}

TEST_F(Stubs, ObjectsCountAndHardlyEverCollide) {
  const FilterProgram program = {{Op::argument, 0}, {Op::jump_if_object, 0, 3}, {Op::pass}, {Op::stop}};
  constexpr uint64_t kSlab = 0xffff888012340000;
  const uint64_t one = kSlab;
  EXPECT_FALSE(run(program, one));
  both([&](Filter& filter) { filter.add_object(one), filter.add_object(one), filter.remove_object(one); });
  EXPECT_TRUE(run(program, one));
  both([&](Filter& filter) { filter.remove_object(one), filter.remove_object(one); });
  EXPECT_FALSE(run(program, one));

  // 10,000 objects of a slab's stride, and as many others asked for: the code once, the tables by hand.
  for (uint64_t i = 0; i < 10000; ++i) slot_->add_object(kSlab + i * 1088);
  const auto stub = slot_->place(program, layout_, kPort, Gva(address(low_ + FilterSlot::kSize + 4096)));
  ASSERT_TRUE(stub);
  std::memcpy(low_, slot_->memory().data(), FilterSlot::kSize);
  trap_at = stub->trap.value;
  int false_positives = 0;
  const auto ask = [&](uint64_t key) {
    stopped = false;
    asm volatile("call *%[entry]" : : [entry] "b"(stub->entry.value), "D"(key) : "rax", "r10", "r11", "cc", "memory");
    return stopped;
  };
  for (uint64_t i = 0; i < 10000; ++i) {
    ASSERT_TRUE(ask(kSlab + i * 1088));
    false_positives += ask(kSlab + (uint64_t{1} << 32) + i * 960);
  }
  EXPECT_LE(false_positives, 3);  // 0.1 % would be 10; expected are 0.06
  for (uint64_t i = 0; i < 10000; ++i) slot_->remove_object(kSlab + i * 1088);
  std::memcpy(low_, slot_->memory().data(), FilterSlot::kSize);
  for (uint64_t i = 0; i < 10000; ++i) ASSERT_FALSE(ask(kSlab + i * 1088));
}

TEST_F(Stubs, Connections) {
  const FilterProgram program = {{Op::argument, 0},
                                 {Op::keep},
                                 {Op::load16, 8},
                                 {Op::jump_if_zero, 0, 7},
                                 {Op::load16_beside, 18},
                                 {Op::connection_key},
                                 {Op::jump_if_object, 0, 8},
                                 {Op::pass},
                                 {Op::stop}};
  const auto ports = [&](uint64_t remote, uint64_t local) {
    object_[1] = 0xa5a5a5a5a5a50000 | remote;
    object_[2] = 0xa5a5a5a50000a5a5 | local << 16;
  };
  both([&](Filter& filter) { filter.add_object(connection_key(40000, 5432)); });
  ports(40000, 5432);
  EXPECT_TRUE(run(program, address(object_)));
  ports(5432, 40000);
  EXPECT_TRUE(run(program, address(object_))) << "the other end";
  ports(40001, 5431);
  EXPECT_FALSE(run(program, address(object_))) << "the same sum";
  ports(0, 5432);
  EXPECT_FALSE(run(program, address(object_)));
  ports(65535, 65535);
  EXPECT_FALSE(run(program, address(object_)));
  both([&](Filter& filter) { filter.add_object(connection_key(65535, 65535)); });
  EXPECT_TRUE(run(program, address(object_)));
}

TEST_F(Stubs, TypesAndMasks) {
  const FilterProgram program = {
      {Op::argument, 0}, {Op::keep},   {Op::load16, 8},  {Op::bits, 0170000},       {Op::jump_if_equal, 0100000, 6},
      {Op::pass},        {Op::recall}, {Op::load64, 16}, {Op::jump_if_zero, 0, 10}, {Op::stop},
      {Op::pass}};
  object_[1] = 0xa5a5a5a5a5a50000 | 0100644;
  object_[2] = 1;
  EXPECT_TRUE(run(program, address(object_)));
  object_[2] = 0;
  EXPECT_FALSE(run(program, address(object_)));
  object_[1] = 0xa5a5a5a5a5a50000 | 0010644;
  object_[2] = 1;
  EXPECT_FALSE(run(program, address(object_)));
  const FilterProgram address_of = {
      {Op::argument, 1}, {Op::jump_if_equal, 0xffffffff81234560, 3}, {Op::pass}, {Op::stop}};
  EXPECT_TRUE(run(address_of, 0, 0xffffffff81234560));
  EXPECT_FALSE(run(address_of, 0, 0x81234560)) << "not the 32 bits, the address";
}

TEST_F(Stubs, Notes) {
  EXPECT_FALSE(run({{Op::argument, 0}, {Op::note, 1}, {Op::pass}}, 0xffff888000001000));
  EXPECT_FALSE(
      run({{Op::argument, 0}, {Op::bits, 0x7fffffff}, {Op::shift_left, 3}, {Op::note, 2}, {Op::pass}}, 0xa500000007));
}

TEST_F(Stubs, NamesHoldUntilSomethingIsRenamedOrMounted) {
  const FilterProgram opened = {{Op::jump_unless_known_name, 0, 2}, {Op::pass}, {Op::stop}};
  const FilterProgram made = {{Op::jump_if_known_dentry, 0, 2}, {Op::pass}, {Op::stop}};
  const uint64_t dentry = 0xffff888001001000, mount = 0xffff888001002020, inode = 0xffff888001003000;
  object_[1] = dentry, object_[2] = mount, object_[3] = inode;
  words_[0] = 0xa5a5a5a500000010, words_[1] = 0xa5a5a5a500000020;
  EXPECT_TRUE(run(opened, address(object_)));
  EXPECT_FALSE(run(made, dentry));
  both([&](Filter& filter) { filter.add_name({dentry, inode, mount, 0x10, 0x20}); });
  EXPECT_FALSE(run(opened, address(object_)));
  EXPECT_TRUE(run(made, dentry));
  for (uint64_t* word : {&object_[1], &object_[2], &object_[3], &words_[0], &words_[1]}) {
    *word += 2;
    EXPECT_TRUE(run(opened, address(object_)));
    *word -= 2;
    EXPECT_FALSE(run(opened, address(object_)));
  }
  both([&](Filter& filter) { filter.remove_name(dentry); });
  EXPECT_TRUE(run(opened, address(object_)));
}

TEST_F(Stubs, WhatCannotBeExpressedIsRefused) {
  const auto place = [&](const FilterProgram& program) {
    return slot_->place(program, layout_, kPort, Gva(address(low_))).has_value();
  };
  EXPECT_TRUE(place({{Op::stop}}));
  EXPECT_FALSE(place({{Op::jump_if_zero, 0, 0}, {Op::stop}})) << "a loop";
  EXPECT_FALSE(place({{Op::stop}, {Op::jump_if_zero, 0, 1}}));
  EXPECT_FALSE(place({{Op::jump_if_zero, 0, 9}}));
  EXPECT_FALSE(place({{Op::argument, 6}}));
  EXPECT_FALSE(place({{Op::current, 0x123456789}}));
  layout_.rename_sequence = 0x100000000;
  EXPECT_FALSE(place({{Op::jump_unless_known_name, 0, 1}}));
  bool full = false;
  for (int i = 0; i < 20000 && !full; ++i) full = !place({{Op::stop}});
  EXPECT_TRUE(full) << "the stubs must not run into the tables";
}

}  // namespace
}  // namespace oboro::engine::kvm
