#include "guest/page_cache.h"

#include <gtest/gtest.h>
#include <string>

#include "tests/support/engine/first_touch.h"
#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

using fake::FakeGuest;
using fake::kPageSize;

// Every byte tells its place in the file.
std::string content(size_t size) {
  std::string out(size, '\0');
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i / kPageSize * 7 + i) % 26);
  return out;
}

struct PageCache : testing::Test {
  // The bytes that can be read there, or a text that says that none can.
  std::string read(uint64_t offset, size_t size) {
    std::string out(size, '-');
    Reader r(guest.kernel());
    return read_cached(r, Inode{inode}, offset, std::as_writable_bytes(std::span(out))) ? out : "not cached";
  }
  void write_slot(uint64_t index, uint64_t entry) { guest.write(guest.cache_slot(inode, index), entry); }
  Gva slots(Gva node) { return node + guest.profile[Field::xa_node_slots]; }
  void set_shift(Gva node, uint8_t shift) { guest.write(node + guest.profile[Field::xa_node_shift], shift); }
  Gva root_node() { return Gva(guest.word(guest.cache_head(inode)) - 2); }

  FakeGuest guest;
  fake::FileSystem disk = guest.file_system(0xef53, "ext4", 0x800001, 0x10);
  Gva inode = guest.inode(disk.sb, FileType::regular, 11);
  const std::string text = content(3 * kPageSize - 100);
};

TEST_F(PageCache, NothingOfAFileThatWasNeverRead) { EXPECT_EQ(read(0, 1), "not cached"); }

TEST_F(PageCache, OnePage) {
  guest.cache(inode, text.substr(0, 100), 0, 0);
  EXPECT_EQ(read(0, 100), text.substr(0, 100));
  EXPECT_EQ(read(kPageSize, 1), "not cached") << "of a tree without a node the root is the first page";
}

TEST_F(PageCache, TreesOfEveryHeight) {
  for (unsigned levels = 1; levels <= 11; ++levels) {
    guest.cache(inode, text, 0, levels);
    EXPECT_EQ(read(0, text.size()), text) << levels;
    EXPECT_EQ(read(kPageSize - 1, kPageSize + 2), text.substr(kPageSize - 1, kPageSize + 2)) << levels;
    EXPECT_EQ(read(3 * kPageSize, 1), "not cached") << levels;
  }
}

TEST_F(PageCache, APageThatIsOnlyInAnotherPartOfTheTree) {
  guest.cache(inode, text, 0, 1);
  for (const uint64_t index : {uint64_t{64}, uint64_t{64} << 6, uint64_t{1} << 51})
    EXPECT_EQ(read(index * kPageSize, 1), "not cached") << index;
}

TEST_F(PageCache, LargeFolios) {
  for (unsigned order = 1; order <= 5; ++order) {
    const std::string many = content(40 * kPageSize / (order == 5 ? 2 : 1));
    guest.cache(inode, many, order, 2);
    EXPECT_EQ(read(0, many.size()), many) << order;
    EXPECT_EQ(read(17 * kPageSize + 5, 10), many.substr(17 * kPageSize + 5, 10)) << order;
  }
}

// As with a file of huge pages: the folio is in a place where otherwise a node would be.
TEST_F(PageCache, AFolioAboveTheLowestLevel) {
  const std::string many = content(70 * kPageSize);
  const Gva frames = guest.allocate(many.size() + 64 * kPageSize);
  guest.write(frames, many.data(), many.size());
  guest.cache(inode, "x", 0, 2);
  guest.set_up_to_date(guest.page_of(frames), true);
  guest.write(slots(root_node()), guest.page_of(frames));
  guest.write(slots(root_node()) + 8, uint64_t{2});  // a sibling of slot 0
  EXPECT_EQ(read(0, many.size()), many);
}

TEST_F(PageCache, WhatIsNoPage) {
  guest.cache(inode, text);
  const uint64_t page = guest.word(guest.cache_slot(inode, 1));
  for (const uint64_t entry : {uint64_t{0}, uint64_t{0x1235}, uint64_t{1026}, uint64_t{1030}, page | 1, page | 3,
                               page | 2, uint64_t{1} << 2 | 2, uint64_t{2} << 2 | 2, uint64_t{62} << 2 | 2}) {
    write_slot(1, entry);
    EXPECT_EQ(read(kPageSize, 1), "not cached") << std::hex << entry;
    EXPECT_EQ(read(0, 2 * kPageSize), "not cached") << std::hex << entry;
    EXPECT_EQ(read(0, 10), text.substr(0, 10));
  }
  write_slot(1, 2);
  write_slot(0, 1026);
  EXPECT_EQ(read(kPageSize, 1), "not cached") << "a sibling of what is no page";
}

TEST_F(PageCache, OnlyWhatIsUpToDate) {
  const Gva frames = guest.cache(inode, text);
  guest.set_up_to_date(guest.page_of(frames + kPageSize), false);
  EXPECT_EQ(read(0, text.size()), "not cached");
  EXPECT_EQ(read(2 * kPageSize, 10), text.substr(2 * kPageSize, 10));
  Profile strange = guest.profile;
  fake::set_offset(strange, Field::pg_uptodate, 200);
  const Kernel kernel(guest.memory.ram(), strange, guest.layout);
  Reader r(kernel);
  std::byte out{};
  EXPECT_FALSE(read_cached(r, Inode{inode}, 0, {&out, 1})) << "a flag that no word has";
}

TEST_F(PageCache, PagesOutsideOfRam) {
  const Gva frames = guest.cache(inode, text);
  const uint64_t page = guest.word(guest.cache_slot(inode, 0));
  const uint64_t pages = guest.memory.bytes().size() / kPageSize;
  for (const uint64_t entry : {page + 4, page + 32, page + pages * 64, guest.page_of(fake::kDirectMap).value - 64,
                               uint64_t{0x1000}, uint64_t{0} - 64}) {
    write_slot(0, entry);
    EXPECT_EQ(read(0, 10), "not cached") << std::hex << entry;
  }
  write_slot(0, page);
  EXPECT_EQ(read(0, 10), text.substr(0, 10));
  guest.hide(frames);
  EXPECT_EQ(read(0, 10), "not cached");
}

TEST_F(PageCache, WhatTheGuestSaysOfItsMemoryMustBeTrue) {
  guest.cache(inode, text);
  ASSERT_EQ(read(0, 10), text.substr(0, 10));
  const Gva base = guest.symbol(Symbol::page_offset_base);
  guest.write(base, fake::kDirectMap + kPageSize);
  EXPECT_EQ(read(0, 10), "not cached") << "known to be elsewhere";
  guest.write(base, fake::kDirectMap);
  guest.write(guest.symbol(Symbol::vmemmap_base), ~uint64_t{0});
  EXPECT_EQ(read(0, 10), "not cached");
}

TEST_F(PageCache, LevelsThatDoNotGoDownByOne) {
  for (const int shift : {255, 66, 61, 60, 13, 6}) {
    guest.cache(inode, text, 0, 3);
    const Gva second(guest.word(slots(root_node())) - 2);
    set_shift(second, static_cast<uint8_t>(shift));
    EXPECT_EQ(read(0, 10), shift == 6 ? text.substr(0, 10) : "not cached") << shift;
    set_shift(second, 6);
    set_shift(root_node(), static_cast<uint8_t>(shift));
    EXPECT_EQ(read(0, 10), "not cached") << shift;
  }
}

TEST_F(PageCache, CyclesEnd) {
  guest.cache(inode, text, 0, 2);
  guest.write(slots(root_node()), guest.word(guest.cache_head(inode)));
  EXPECT_EQ(read(0, 10), "not cached");
  guest.cache(inode, text, 0, 1);
  guest.write(slots(root_node()), guest.word(guest.cache_head(inode)));
  EXPECT_EQ(read(0, 10), "not cached") << "a node where a page has to be";
  guest.write(guest.cache_head(inode), uint64_t{0xffffffffffff0002});
  EXPECT_EQ(read(0, 10), "not cached") << "not mapped";
}

TEST_F(PageCache, AKernelThatLacksSomething) {
  guest.cache(inode, text);
  ASSERT_EQ(read(0, 10), text.substr(0, 10));
  for (const Field field : {Field::address_space_pages, Field::xa_node_shift, Field::xa_node_slots, Field::folio_flags,
                            Field::page_size, Field::pg_uptodate}) {
    Profile lacking = guest.profile;
    fake::set_missing(lacking, field);
    const Kernel kernel(guest.memory.ram(), lacking, guest.layout);
    Reader r(kernel);
    std::byte out{};
    EXPECT_FALSE(read_cached(r, Inode{inode}, 0, {&out, 1})) << static_cast<int>(field);
  }
}

// The page is given to another owner while it is read. Then it is not the file's.
TEST_F(PageCache, APageThatIsTakenAway) {
  const Gva frames = guest.cache(inode, text);
  const Gpa second = *guest.kernel().physical(frames + kPageSize);
  const std::string other(kPageSize, '!');
  const auto reuse = [&](uint64_t entry) {
    const fake::FirstTouch reused(guest.memory, second, [&] {
      write_slot(1, entry);
      guest.write(frames + kPageSize, other.data(), other.size());
    });
    EXPECT_EQ(read(0, text.size()), "not cached");
    EXPECT_TRUE(reused.touched());
  };
  const uint64_t page = guest.word(guest.cache_slot(inode, 1));
  reuse(0);
  write_slot(1, page);
  reuse(page + 64);  // a copy of the page is elsewhere
}

TEST_F(PageCache, APageThatIsReadFromDiskMeanwhile) {
  const Gva frames = guest.cache(inode, text);
  const Gpa first = *guest.kernel().physical(frames);
  for (const bool up_to_date : {true, false}) {
    guest.set_up_to_date(guest.page_of(frames), !up_to_date);
    const fake::FirstTouch changed(guest.memory, first,
                                   [&] { guest.set_up_to_date(guest.page_of(frames), up_to_date); });
    EXPECT_EQ(read(0, 10), "not cached") << up_to_date;
  }
}

}  // namespace
}  // namespace oboro::guest
