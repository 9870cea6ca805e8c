#include "guest/address_space.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

using fake::FakeGuest;

constexpr uint64_t kRead = 1;

class AddressSpaceTest : public testing::Test {
 protected:
  AddressSpaceTest() : fs(guest.file_system(0xef53, "ext4", 1)), task(guest.task(100, "a")), mm(guest.mm(task)) {}
  Gva new_inode() { return guest.inode(fs.sb, FileType::regular, ++number); }
  Gva file_of(Gva inode) { return guest.open(guest.dentry(fs.root, "f", inode)); }
  Gva shared(Gva inode) { return guest.vma(mm, file_of(inode), kVmShared | kVmWrite | kRead); }
  std::vector<uint64_t> found(bool complete = true) {
    Reader r(guest.kernel());
    std::vector<Inode> out;
    EXPECT_EQ(shared_writable_inodes(r, mm, out), complete);
    std::vector<uint64_t> addresses;
    addresses.reserve(out.size());
    for (const Inode inode : out) addresses.push_back(inode.at.value);
    std::sort(addresses.begin(), addresses.end());
    return addresses;
  }

  FakeGuest guest;
  fake::FileSystem fs;
  Gva task, mm;
  uint64_t number = 10;
};

TEST_F(AddressSpaceTest, EmptyTree) { EXPECT_TRUE(found().empty()); }

TEST_F(AddressSpaceTest, TreesOfAnyHeight) {
  const size_t counts[] = {1, 16, 20, 40};  // no node, one leaf, two levels, three
  for (unsigned levels = 0; levels < 4; ++levels) {
    std::vector<Gva> vmas;
    std::vector<uint64_t> expected;
    const size_t count = levels == 2 ? 20 : levels == 3 ? 40 : counts[levels];
    for (size_t i = 0; i < count; ++i) {
      const Gva inode = new_inode();
      vmas.push_back(shared(inode));
      expected.push_back(inode.value);
    }
    guest.set_vmas(mm, vmas, levels);
    EXPECT_EQ(found(), expected) << levels;
  }
}

TEST_F(AddressSpaceTest, OnlySharedWritableFilesCount) {
  const Gva inode = new_inode();
  guest.set_vmas(mm, {guest.vma(mm, file_of(new_inode()), kVmWrite), guest.vma(mm, file_of(new_inode()), kVmShared),
                      guest.vma(mm, Gva(), kVmShared | kVmWrite), shared(inode)});
  EXPECT_EQ(found(), std::vector{inode.value});
}

// Slots behind the end of a node keep their old values. Slots within it may, too, for a moment.
TEST_F(AddressSpaceTest, StaleSlots) {
  const Gva one = new_inode(), other = new_inode();
  const Gva stale = shared(new_inode());
  guest.set_vmas(mm, {shared(one), shared(other), stale, shared(new_inode())});
  const Gva node(guest.get(mm, Field::mm_mt_root) & ~uint64_t{0xff});
  const Gva pivots = node + guest.profile[Field::maple_range_pivot],
            slots = node + guest.profile[Field::maple_range_slot];
  guest.write(pivots + 8, uint64_t{0});  // the node ends with its second slot
  EXPECT_EQ(found(), (std::vector{one.value, other.value}));
  guest.write(pivots + 8, uint64_t{0x1fff});
  guest.write(pivots + 16, uint64_t{0});
  guest.set(stale, Field::vma_mm, guest.allocate());  // freed, and by now another process's
  EXPECT_EQ(found(), (std::vector{one.value, other.value}));
  guest.hide(stale);  // freed, and its memory is gone: no failure either
  EXPECT_EQ(found(), (std::vector{one.value, other.value}));
  guest.memory.show_all();
  guest.write(slots + 16, uint64_t{0x402});  // reserved entries of the tree are no pointers
  EXPECT_EQ(found(), (std::vector{one.value, other.value}));
}

TEST_F(AddressSpaceTest, DamagedTreesAreIncomplete) {
  guest.set_vmas(mm, {shared(new_inode()), shared(new_inode())}, 1);
  const uint64_t root = guest.get(mm, Field::mm_mt_root);
  guest.set(mm, Field::mm_mt_root, (root & ~uint64_t{0x78}) | 9 << 3);  // a type that does not exist
  found(false);
  const Gva node = guest.allocate();
  const uint64_t range = node.value | 2 << 3 | 6;
  for (uint64_t i = 0; i < 16; ++i) {
    guest.write(node + guest.profile[Field::maple_range_slot] + i * 8, range);  // the node's own parent
    if (i < 15) guest.write(node + guest.profile[Field::maple_range_pivot] + i * 8, i + 1);
  }
  guest.set(mm, Field::mm_mt_root, range);
  found(false);
  guest.hide(node);
  found(false);
  guest.hide(mm);
  found(false);
}

class MappersTest : public AddressSpaceTest {
 protected:
  std::vector<uint64_t> owners(Gva inode, bool complete = true) {
    Reader r(guest.kernel());
    std::vector<Task> out;
    EXPECT_EQ(mappers(r, Inode{inode}, out), complete);
    std::vector<uint64_t> addresses;
    addresses.reserve(out.size());
    for (const Task owner : out) addresses.push_back(owner.at.value);
    std::sort(addresses.begin(), addresses.end());
    return addresses;
  }
};

TEST_F(MappersTest, EachOwnerOnce) {
  const Gva inode = new_inode(), other = guest.task(200, "b"), third = guest.task(300, "c");
  EXPECT_TRUE(owners(inode).empty());
  std::vector<Gva> vmas;
  for (const Gva t : {task, other, task, third, other}) vmas.push_back(guest.vma(guest.mm(t), file_of(inode), kRead));
  guest.set_mappers(inode, vmas);
  EXPECT_EQ(owners(inode), (std::vector{task.value, other.value, third.value}));
}

TEST_F(MappersTest, CyclesEnd) {
  const Gva inode = new_inode();
  const std::vector<Gva> vmas = {guest.vma(mm, file_of(inode), kRead)};
  guest.set_mappers(inode, vmas);
  const Gva node = vmas[0] + guest.profile[Field::vma_shared_rb];
  guest.set(node, Field::rb_node_left, node);
  guest.set(node, Field::rb_node_right, node);
  EXPECT_EQ(owners(inode, false), std::vector{task.value});
}

TEST_F(MappersTest, WithoutOwnersOnlyUnmappedFilesAreComplete) {
  const Gva inode = new_inode();
  guest.set_mappers(inode, {guest.vma(mm, file_of(inode), kRead)});
  fake::set_missing(guest.profile, Field::mm_owner);
  owners(inode, false);
  EXPECT_TRUE(owners(new_inode()).empty());
}

}  // namespace
}  // namespace oboro::guest
