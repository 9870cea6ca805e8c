#include "arch/x86_64/patching.h"

#include <gtest/gtest.h>
#include <vector>

namespace oboro::arch {
namespace {

std::optional<unsigned> offset(std::initializer_list<uint8_t> bytes) {
  const std::vector<uint8_t> all(bytes);
  return nop_offset(std::as_bytes(std::span(all)));
}

TEST(Patching, FindsTheNop) {
  EXPECT_EQ(offset({0x0f, 0x1f, 0x44, 0, 0, 0x55, 0, 0, 0}), 0u);
  EXPECT_EQ(offset({0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0, 0}), 4u);
  EXPECT_EQ(offset({0x66, 0x0f, 0x1f, 0x00, 0x0f, 0x1f, 0x44, 0, 0}), 4u);
  EXPECT_EQ(offset({0x0f, 0x1f, 0x40, 0xd6, 0x0f, 0x1f, 0x44, 0, 0}), 4u);
  EXPECT_EQ(offset({0xe8, 0x12, 0x34, 0x56, 0x78, 0x55, 0, 0, 0}), std::nullopt) << "ftrace is on there";
  EXPECT_EQ(offset({0xcc, 0x1f, 0x44, 0, 0, 0x55, 0, 0, 0}), std::nullopt) << "a kprobe";
  EXPECT_EQ(offset({0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x0f, 0x1f, 0x44, 0}), std::nullopt);
  EXPECT_EQ(offset({0x0f, 0x1f}), std::nullopt);
  EXPECT_EQ(offset({}), std::nullopt);
}

TEST(Patching, JumpsBothWays) {
  const Gva nop(0xffffffff81000100);
  for (const Gva target : {Gva(0xffffffff80000000), Gva(0xffffffff9ff00020)}) {
    const SiteBytes jump = jump_to(nop, target);
    EXPECT_EQ(jump[0], 0xe9);
    int32_t distance;
    std::memcpy(&distance, jump.data() + 1, sizeof distance);
    EXPECT_EQ(nop.value + kNopSize + static_cast<uint64_t>(int64_t{distance}), target.value);
  }
}

TEST(Patching, ATrapWritesToItsPort) {
  EXPECT_EQ(trap(0x5a)[0], 0xe6);
  EXPECT_EQ(trap(0x5a)[1], 0x5a);
}

}  // namespace
}  // namespace oboro::arch
