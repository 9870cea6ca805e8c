#include "guest/user_memory.h"

#include <cstring>
#include <gtest/gtest.h>
#include <vector>

#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

using fake::kPageSize;

class UserMemoryTest : public testing::Test {
 protected:
  static constexpr uint64_t kAt = 0x7f0000000000;

  UserMemoryTest() : bytes(guest.map_user(Gva(kAt), 4 * kPageSize)) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i % 251 + 1);
  }
  UserMemory memory() { return {guest.kernel(), {guest.memory.root()}}; }
  bool read(uint64_t at, size_t size) {
    got.assign(size, std::byte{0});
    return memory().read(at, got);
  }
  fake::FakeGuest guest;
  std::span<std::byte> bytes;
  std::vector<std::byte> got;
  std::string text;
};

TEST_F(UserMemoryTest, ReadsOverTheEndsOfPages) {
  ASSERT_TRUE(read(kAt + 100, 2 * kPageSize));
  EXPECT_EQ(std::memcmp(got.data(), bytes.data() + 100, got.size()), 0);
  EXPECT_TRUE(read(kAt + bytes.size(), 0));
}

TEST_F(UserMemoryTest, PagesThatFollowInTheProgramNeedNotInRam) {
  const auto other = guest.map_user(Gva(kAt + kPageSize), kPageSize);
  other[0] = std::byte{0xee};
  ASSERT_TRUE(read(kAt, kPageSize + 1));
  EXPECT_EQ(got.back(), std::byte{0xee});
}

TEST_F(UserMemoryTest, ReadsOverTheBorderOfWhatIsMapped) {
  const auto page = static_cast<uint64_t>(bytes.data() - guest.memory.bytes().data());
  guest.memory.set(Gpa(page), fake::FakeMemory::Page::mapped);
  guest.memory.set(Gpa(page + kPageSize), fake::FakeMemory::Page::remote);
  ASSERT_TRUE(read(kAt + 100, kPageSize));
  EXPECT_EQ(std::memcmp(got.data(), bytes.data() + 100, got.size()), 0);
  EXPECT_GT(guest.memory.asked(), 0u);
}

TEST_F(UserMemoryTest, WhatIsNotThereIsNotRead) {
  EXPECT_FALSE(read(kAt + 3 * kPageSize, kPageSize + 1));
  EXPECT_FALSE(read(kAt - 1, 2));
  EXPECT_FALSE(read(~uint64_t{0} - 8, 100));
  guest.memory.unmap(Gva(kAt + kPageSize));
  EXPECT_FALSE(read(kAt, kPageSize + 1));
  EXPECT_TRUE(read(kAt, kPageSize));
  EXPECT_FALSE(UserMemory(guest.kernel(), {}).read(kAt, got)) << "no page tables";
}

// The same tables map the kernel's own memory. A program may not name that.
TEST_F(UserMemoryTest, TheKernelsMemoryIsNotRead) {
  EXPECT_FALSE(read(fake::kImageBase.value, 8));
  const uint64_t kernels = guest.vmalloc(kPageSize).value;
  EXPECT_FALSE(read(kernels, 8));
}

TEST_F(UserMemoryTest, StringsEndInTime) {
  bytes[kPageSize + 5] = std::byte{0};
  ASSERT_TRUE(memory().read_string(kAt + kPageSize - 300, 4096, text));
  EXPECT_EQ(text.size(), 305u);
  EXPECT_EQ(std::memcmp(text.data(), bytes.data() + kPageSize - 300, text.size()), 0);
  EXPECT_TRUE(memory().read_string(kAt + kPageSize, 6, text)) << "5 bytes and the end";
  EXPECT_FALSE(memory().read_string(kAt + kPageSize, 5, text)) << "its end is not within";
  // The last page is full to its end, and nothing is behind it.
  EXPECT_FALSE(memory().read_string(kAt + 4 * kPageSize - 10, 4096, text));
  bytes[4 * kPageSize - 1] = std::byte{0};
  EXPECT_TRUE(memory().read_string(kAt + 4 * kPageSize - 10, 4096, text)) << "nothing behind it is touched";
}

}  // namespace
}  // namespace oboro::guest
