#include "guest/kernel.h"

#include <gtest/gtest.h>

#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

using fake::FakeGuest;
using fake::kPageSize;

TEST(Kernel, ReadsDirectMapImageAndWhatIsMappedElsewhere) {
  FakeGuest guest;
  const Gva object = guest.allocate();
  guest.write(object, uint64_t{42});
  const Gva far = guest.vmalloc(3 * kPageSize);
  Reader r(guest.kernel());
  EXPECT_EQ(r.at<uint64_t>(object), 42u);
  EXPECT_EQ(r.at<uint64_t>(guest.symbol(Symbol::page_offset_base)), fake::kDirectMap.value);
  EXPECT_EQ(r.at<uint64_t>(far), 0u);
  EXPECT_FALSE(r.failed());
}

TEST(Kernel, ReadCrossesPagesThatDoNotFollowEachOther) {
  FakeGuest guest;
  const Gva far = guest.vmalloc(2 * kPageSize);
  // vmalloc maps in reverse: the first page is the second of the two in memory.
  const Gva pages = guest.allocate() - 2 * kPageSize;
  guest.write(pages + 2 * kPageSize - 4, uint32_t{0x44332211});
  guest.write(pages, uint32_t{0x88776655});
  Reader r(guest.kernel());
  EXPECT_EQ(r.at<uint64_t>(far + kPageSize - 4), 0x8877665544332211u);
  EXPECT_FALSE(r.failed());
  EXPECT_EQ(r.at<uint64_t>(far + 2 * kPageSize - 4), 0u) << "half of it is in the guard page";
  EXPECT_TRUE(r.failed());
}

TEST(Kernel, ReadCrossesTheBorderOfWhatIsMapped) {
  FakeGuest guest;
  const Gva object = guest.allocate(3 * kPageSize);
  guest.memory.set(*guest.kernel().physical(object), fake::FakeMemory::Page::mapped);
  guest.memory.set(*guest.kernel().physical(object + kPageSize), fake::FakeMemory::Page::remote);
  guest.memory.set(*guest.kernel().physical(object + 2 * kPageSize), fake::FakeMemory::Page::mapped);
  const unsigned before = guest.memory.asked();
  guest.write(object + kPageSize - 4, uint64_t{0x8877665544332211});
  guest.write(object + 2 * kPageSize - 4, uint64_t{0xffeeddccbbaa9988});
  guest.write(object + kPageSize + 200, "in what is not mapped", 22);
  Reader r(guest.kernel());
  EXPECT_EQ(r.at<uint64_t>(object + kPageSize - 4), 0x8877665544332211u);
  EXPECT_EQ(r.at<uint64_t>(object + 2 * kPageSize - 4), 0xffeeddccbbaa9988u);
  EXPECT_EQ(r.string(object + kPageSize + 200, 100), "in what is not mapped");
  EXPECT_FALSE(r.failed());
  EXPECT_EQ(guest.memory.asked(), before + 3);
}

TEST(Kernel, UnreadableIsZeroAndFails) {
  FakeGuest guest;
  const Gva object = guest.allocate(), next = guest.allocate();
  guest.write(object, ~uint64_t{0});
  guest.hide(object);
  Reader r(guest.kernel());
  EXPECT_EQ(r.at<uint64_t>(object), 0u);
  EXPECT_TRUE(r.failed());
  r.clear_failure();
  (void)r.at<uint64_t>(next);
  EXPECT_FALSE(r.failed());
  for (const uint64_t address : {uint64_t{0}, uint64_t{8}, uint64_t{0x400000}, uint64_t{0xffff888100000000},
                                 uint64_t{0xfffffffffffffffe}, UINT64_MAX, uint64_t{0x8000000000000000}}) {
    r.clear_failure();
    EXPECT_EQ(r.at<uint64_t>(Gva(address)), 0u) << std::hex << address;
    EXPECT_TRUE(r.failed()) << std::hex << address;
  }
}

TEST(Kernel, NullObjectsAndMissingMembersFail) {
  FakeGuest guest;
  fake::set_missing(guest.profile, Field::mm_owner);
  const Gva object = guest.allocate();
  Reader r(guest.kernel());
  EXPECT_FALSE(r.pointer(object, Field::mm_owner));
  EXPECT_TRUE(r.failed());
  r.clear_failure();
  EXPECT_FALSE(r.pointer(Gva(), Field::task_mm));
  EXPECT_TRUE(r.failed());
}

TEST(Kernel, BudgetEndsReading) {
  FakeGuest guest;
  const Gva object = guest.allocate();
  guest.write(object, uint64_t{1});
  Reader r(guest.kernel());
  for (uint32_t i = 0; i < Reader::kMaxReads; ++i) ASSERT_EQ(r.at<uint64_t>(object), 1u);
  EXPECT_FALSE(r.failed());
  EXPECT_EQ(r.at<uint64_t>(object), 0u);
  EXPECT_TRUE(r.failed());
  r.clear_failure();
  EXPECT_TRUE(r.string(object, 10).empty()) << "strings count too";
  EXPECT_TRUE(r.failed());
}

TEST(Kernel, StringsEndAtNulBoundAndUnreadable) {
  FakeGuest guest;
  const Gva text = guest.string("hello");
  const Gva long_text = guest.string(std::string(600, 'x'));
  const Gva at_end = guest.allocate();
  guest.write(at_end + kPageSize - 3, "abc", 3);
  guest.hide(at_end + kPageSize);
  Reader r(guest.kernel());
  EXPECT_EQ(r.string(text, 100), "hello");
  EXPECT_EQ(r.string(text, 3), "hel");
  EXPECT_EQ(r.string(long_text, 1000), std::string(600, 'x'));
  EXPECT_FALSE(r.failed());
  EXPECT_EQ(r.string(at_end + kPageSize - 3, 100), "abc");
  EXPECT_TRUE(r.failed());
}

}  // namespace
}  // namespace oboro::guest
