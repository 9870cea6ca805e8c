#include "guest/writer.h"

#include <gtest/gtest.h>
#include <string>
#include <string_view>

#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

using fake::kPageSize;
using Page = fake::FakeMemory::Page;

class WriterTest : public testing::Test {
 protected:
  void set(Gva object, Page what) { guest.memory.set(*guest.kernel().physical(object), what); }
  bool write(Gva at, std::string_view text) { return writer().write(at, std::as_bytes(std::span(text))); }
  std::string text(Gva at, size_t size) {
    std::string out(size, 0);
    return guest.kernel().read(at, out.data(), size) ? out : "unreadable";
  }
  Writer writer() { return Writer(guest.kernel()); }
  fake::FakeGuest guest;
};

TEST_F(WriterTest, WritesWhatIsReadThen) {
  const Gva object = guest.allocate(2 * kPageSize);
  EXPECT_TRUE(write(object + kPageSize - 3, "abcdef"));
  EXPECT_EQ(text(object + kPageSize - 3, 6), "abcdef");
  EXPECT_TRUE(writer().put(object, uint64_t{42}));
  EXPECT_EQ(guest.word(object), 42u);
  const Gva image = guest.symbol(Symbol::page_offset_base);
  EXPECT_TRUE(writer().put(image, uint64_t{43}));
  EXPECT_EQ(guest.word(image), 43u);
}

TEST_F(WriterTest, PagesThatDoNotFollowEachOther) {
  const Gva far = guest.vmalloc(2 * kPageSize);
  EXPECT_TRUE(write(far + kPageSize - 3, "abcdef"));
  EXPECT_EQ(text(far + kPageSize - 3, 6), "abcdef");
  EXPECT_FALSE(write(far + 2 * kPageSize - 3, "abcdef")) << "half of it is in the guard page";
}

TEST_F(WriterTest, TheBorderOfWhatIsMapped) {
  const Gva object = guest.allocate(2 * kPageSize);
  set(object, Page::mapped);
  set(object + kPageSize, Page::remote);
  EXPECT_TRUE(write(object + kPageSize - 3, "abcdef"));
  EXPECT_EQ(text(object + kPageSize - 3, 6), "abcdef");
  EXPECT_GT(guest.memory.asked(), 0u);
}

TEST_F(WriterTest, RomAndWhatIsNotThereAreRefused) {
  const Gva object = guest.allocate(2 * kPageSize);
  for (const Page what : {Page::rom, Page::hidden}) {
    set(object, what);
    EXPECT_FALSE(write(object, "abcdef"));
    EXPECT_FALSE(writer().put(object, uint64_t{1}));
    EXPECT_FALSE(writer().set_bits(object, 1));
    EXPECT_FALSE(writer().clear_bits(object, 1));
    EXPECT_EQ(guest.word(object), 0u);
  }
}

// A hostile kernel's pointer may lead anywhere, also to a program's memory.
TEST_F(WriterTest, OnlyTheKernelsHalfIsWritten) {
  const Gva user(0x7f0000000000);
  const auto bytes = guest.map_user(user, kPageSize);
  EXPECT_FALSE(write(user, "abcdef"));
  EXPECT_FALSE(writer().set_bits(user, 1));
  EXPECT_EQ(bytes[0], std::byte{0});
  for (const uint64_t address : {uint64_t{0}, uint64_t{0x8000000000000000}, UINT64_MAX - 7})
    EXPECT_FALSE(writer().put(Gva(address), uint64_t{1})) << address;
}

TEST_F(WriterTest, BitsOfAnAlignedWord) {
  const Gva object = guest.allocate();
  guest.write(object, uint64_t{0xf0});
  EXPECT_TRUE(writer().set_bits(object, 0x0f));
  EXPECT_TRUE(writer().clear_bits(object, 0x81));
  EXPECT_EQ(guest.word(object), 0x7eu);
  EXPECT_FALSE(writer().set_bits(object + 4, 1));
}

}  // namespace
}  // namespace oboro::guest
