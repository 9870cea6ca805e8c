#include "engine/kvm/hook_sites.h"

#include <cstring>
#include <gtest/gtest.h>

#include "arch/arch.h"
#include "engine/kvm/kernel_mapping.h"
#include "tests/support/engine/fake_memory.h"

namespace oboro::engine::kvm {
namespace {

TEST(HookSites, PutsBackWhatWasThereUnlessTheGuestHasPatchedIt) {
  uint8_t code[2][8] = {{0x0f, 0x1f, 0x44, 0, 0, 0x55}, {0x0f, 0x1f, 0x44, 0, 0, 0x56}};
  PhysicalMemory memory;
  ASSERT_TRUE(memory.add({.start = 0x1000, .mapped = std::as_bytes(std::span(code))}));
  HookSites sites(memory);
  const Gva nop[2] = {Gva(0xffffffff81000000), Gva(0xffffffff81000100)};
  for (int i = 0; i < 2; ++i)
    ASSERT_TRUE(sites.add(nop[i], Gpa(0x1000) + sizeof code[0] * i, arch::jump_to(nop[i], Gva(0xffffffff80000000))));
  sites.install();
  EXPECT_EQ(code[0][0], 0xe9);
  EXPECT_EQ(code[0][5], 0x55);
  int32_t distance;
  std::memcpy(&distance, code[1] + 1, 4);
  EXPECT_EQ(nop[1].value + 5 + static_cast<int64_t>(distance), 0xffffffff80000000);
  EXPECT_FALSE(sites.overwritten());
  code[1][0] = 0xe8;
  EXPECT_EQ(sites.overwritten(), nop[1]);
  sites.remove();
  EXPECT_EQ(code[0][0], 0x0f);
  EXPECT_EQ(code[1][0], 0xe8);
}

TEST(HookSites, WhatCannotBeWrittenIsNoSite) {
  const std::byte rom[8] = {};
  PhysicalMemory memory;
  ASSERT_TRUE(memory.add({.start = 0x1000, .mapped = rom, .read_only = true}));
  HookSites sites(memory);
  EXPECT_FALSE(sites.add(Gva(0xffffffff81000000), Gpa(0x1000), {}));
  EXPECT_FALSE(sites.add(Gva(0xffffffff81000000), Gpa(0x2000), {})) << "no RAM";
  EXPECT_TRUE(sites.nops().empty());
}

// The VMM takes the RAM of a site away, and brings it back.
TEST(HookSites, WhatIsGoneIsNotOverwritten) {
  uint8_t code[8] = {0x0f, 0x1f, 0x44, 0, 0, 0x55};
  const PhysicalMemory::Region ram{.start = 0x1000, .mapped = std::as_bytes(std::span(code))};
  PhysicalMemory memory;
  ASSERT_TRUE(memory.add(ram));
  HookSites sites(memory);
  const Gva nop(0xffffffff81000000);
  ASSERT_TRUE(sites.add(nop, Gpa(0x1000), arch::jump_to(nop, Gva(0xffffffff80000000))));
  memory.exchange({});
  sites.install();
  EXPECT_FALSE(sites.overwritten());
  memory.exchange({ram});
  EXPECT_EQ(sites.overwritten(), nop) << "it could not be written";
  sites.install();
  EXPECT_FALSE(sites.overwritten());
  EXPECT_EQ(code[0], 0xe9);
  memory.exchange({});
  EXPECT_FALSE(sites.overwritten());
  sites.remove();
  memory.exchange({ram});
  EXPECT_EQ(code[0], 0xe9);
  sites.remove();
  EXPECT_EQ(code[0], 0x0f);
}

class Mapping : public testing::Test {
 protected:
  static constexpr uint64_t kLarge = 2 << 20;
  static constexpr Gva kImage{0xffffffff81000000};
  Mapping() : memory(8 << 20) {
    memory.use_tables(Gpa(0x100000), Gpa(0x110000), 0x40000);
    for (uint64_t i = 0; i < 16; ++i) memory.map_large(kImage + i * kLarge, Gpa(0x200000));
  }
  fake::FakeMemory memory;
};

TEST_F(Mapping, TakesFreeEntriesAndSeesThemChanged) {
  const Gpa start(uint64_t{1} << 36);
  const auto made = KernelMapping::make(memory.ram(), {memory.root()}, kImage, start, 2 * kLarge);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->base().value % kLarge, 0u);
  EXPECT_GE(made->base().value, 0xffffffff80000000);
  EXPECT_LE(made->base().value, 0xffffffffc0000000 - 2 * kLarge);
  EXPECT_TRUE(made->intact());
  for (const uint64_t offset : {uint64_t{0}, kLarge, 2 * kLarge - 1}) {
    const auto found =
        arch::walk([&](Gpa at) { return memory.ram().read_u64(at); }, {memory.root()}, made->base() + offset);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->address.value, start.value + offset);
  }
  const auto next = KernelMapping::make(memory.ram(), {memory.root()}, kImage, start, kLarge);
  ASSERT_TRUE(next);
  EXPECT_NE(next->base().value, made->base().value);
  memory.map_large(next->base(), Gpa(0x200000));
  EXPECT_FALSE(next->intact());
  EXPECT_TRUE(made->intact());
}

TEST_F(Mapping, FailsWithoutRoomOrTables) {
  EXPECT_EQ(KernelMapping::make(memory.ram(), {0x900000000}, kImage, Gpa(), kLarge).error().code, Errc::not_found);
  for (uint64_t va = 0xffffffff80000000; va < 0xffffffffc0000000; va += 2 * kLarge) memory.map_large(Gva(va), Gpa());
  EXPECT_EQ(KernelMapping::make(memory.ram(), {memory.root()}, kImage, Gpa(), kLarge).error().code, Errc::limit);
}

}  // namespace
}  // namespace oboro::engine::kvm
