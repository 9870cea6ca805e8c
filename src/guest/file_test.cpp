#include "guest/file.h"

#include <gtest/gtest.h>

#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

using fake::FakeGuest;
using fake::FileSystem;

constexpr uint64_t kExt4 = 0xef53, kTmpfs = 0x01021994;

// A root file system, and another one mounted on /mnt/data in it. With either form of super_block.s_mounts.
class FileTest : public testing::TestWithParam<bool> {
 protected:
  FileTest() {
    if (GetParam()) {  // since 6.18
      fake::set_offset(guest.profile, Field::mount_next_for_sb, guest.profile[Field::mount_instance] + 0x10);
      fake::set_missing(guest.profile, Field::mount_instance);
    }
    root = guest.file_system(kExt4, "ext4", 0x800001, 0x10);
    data = guest.file_system(kExt4, "ext4", 0x800002, 0x20);
    root_mount = guest.mount(root, Gva(), Gva());
    mnt = guest.dentry(root.root, "mnt", guest.inode(root.sb, FileType::directory, 3));
    mountpoint = guest.dentry(mnt, "data", guest.inode(root.sb, FileType::directory, 4));
    data_mount = guest.mount(data, root_mount, mountpoint);
    directory = guest.dentry(data.root, "dir", guest.inode(data.sb, FileType::directory, 5));
    file = guest.dentry(directory, "secret.txt", guest.inode(data.sb, FileType::regular, 6));
  }
  std::string path(Gva dentry) {
    Reader r(guest.kernel());
    std::string text = Dentry{dentry}.true_path(r);
    EXPECT_FALSE(r.failed());
    return text;
  }
  std::string mounted_path(Gva opened) {
    Reader r(guest.kernel());
    PathBuffer buffer;
    return buffer.assign_mounted_path(r, File{opened}) ? std::string(buffer.view()) : "-";
  }

  FakeGuest guest;
  FileSystem root, data;
  Gva root_mount, data_mount, mnt, mountpoint, directory, file;
};

TEST_P(FileTest, TruePathOverNestedMounts) {
  EXPECT_EQ(path(file), "/mnt/data/dir/secret.txt");
  EXPECT_EQ(path(data.root), "/mnt/data");
  EXPECT_EQ(path(mountpoint), "/mnt/data");
  EXPECT_EQ(path(root.root), "/");
  const FileSystem inner = guest.file_system(kTmpfs, "tmpfs", 9);
  guest.mount(inner, data_mount, directory);
  EXPECT_EQ(path(guest.make_file(inner, "x", 7)), "/mnt/data/dir/x");
}

TEST_P(FileTest, BindMountsDoNotChangeTheTruePath) {
  const Gva elsewhere = guest.dentry(root.root, "bind", guest.inode(root.sb, FileType::directory, 8));
  const Gva bind = guest.mount(data, root_mount, elsewhere, directory);
  EXPECT_EQ(path(file), "/mnt/data/dir/secret.txt");
  EXPECT_EQ(mounted_path(guest.open(file, bind)), "/bind/secret.txt");
  EXPECT_EQ(mounted_path(guest.open(file, data_mount)), "-") << "that is the true path";
}

TEST_P(FileTest, MountOfTheInitialNamespaceCounts) {
  const FileSystem shared = guest.file_system(kTmpfs, "tmpfs", 9);
  const Gva container_ns = guest.allocate();
  const Gva one = guest.dentry(root.root, "one"), other = guest.dentry(root.root, "other");
  guest.mount(shared, root_mount, one, Gva(), container_ns);
  const Gva x = guest.make_file(shared, "x", 7);
  EXPECT_EQ(path(x), "/one/x") << "no better one";
  guest.mount(shared, root_mount, other);
  EXPECT_EQ(path(x), "/other/x");
}

TEST_P(FileTest, PathOfADetachedFileSystemBeginsAtItsRoot) {
  const FileSystem detached = guest.file_system(kTmpfs, "tmpfs", 9);
  EXPECT_EQ(path(guest.make_file(detached, "x", 7)), "/x");
}

TEST_P(FileTest, LongPathKeepsItsEnd) {
  Gva at = data.root;
  for (int i = 0; i < 20; ++i) at = guest.dentry(at, std::string(255, static_cast<char>('a' + i)));
  Reader r(guest.kernel());
  PathBuffer buffer;
  ASSERT_TRUE(buffer.assign_true_path(r, Dentry{at}));
  EXPECT_TRUE(buffer.truncated());
  EXPECT_EQ(buffer.view().size(), kMaxPath);
  EXPECT_EQ(buffer.view().substr(kMaxPath - 256), "/" + std::string(255, 't'));
  ASSERT_TRUE(buffer.assign_true_path(r, Dentry{file}));
  EXPECT_FALSE(buffer.truncated()) << "of the path before";
  EXPECT_EQ(buffer.view(), "/mnt/data/dir/secret.txt");
}

TEST_P(FileTest, LongNamesAreBounded) {
  guest.set(file, Field::dentry_name_len, UINT32_MAX);
  Reader r(guest.kernel());
  const std::string text = Dentry{file}.true_path(r);
  EXPECT_EQ(text.size(), std::string("/mnt/data/dir/").size() + 255);
}

TEST_P(FileTest, CycleOfParentsEnds) {
  guest.set(directory, Field::dentry_parent, file);
  Reader r(guest.kernel());
  PathBuffer buffer;
  EXPECT_FALSE(buffer.assign_true_path(r, Dentry{file}));
  EXPECT_TRUE(r.failed());
}

TEST_P(FileTest, CycleOfMountsEnds) {
  guest.set(root_mount, Field::mount_parent, data_mount);
  guest.set(data_mount, Field::mount_parent, root_mount);
  Reader r(guest.kernel());
  PathBuffer buffer;
  EXPECT_FALSE(buffer.assign_true_path(r, Dentry{file}));
  EXPECT_TRUE(r.failed());
}

TEST_P(FileTest, CycleInTheListOfMountsEnds) {
  const Gva foreign_root = guest.allocate();
  guest.set(data_mount, Field::mount_mnt_root, foreign_root);
  const Gva link = GetParam() ? data_mount + guest.profile[Field::mount_next_for_sb]
                              : data_mount + guest.profile[Field::mount_instance];
  guest.write(link, GetParam() ? data_mount : link);
  Reader r(guest.kernel());
  EXPECT_FALSE(main_mount(r, SuperBlock{data.sb}));
}

TEST_P(FileTest, UnreadableMemoryGivesNoPath) {
  for (const Gva object : {directory, data_mount, data.sb, mountpoint}) {
    guest.hide(object);
    Reader r(guest.kernel());
    EXPECT_NE(Dentry{file}.true_path(r), "/mnt/data/dir/secret.txt");
    EXPECT_TRUE(r.failed());
    guest.memory.show_all();
  }
}

INSTANTIATE_TEST_SUITE_P(MountLists, FileTest, testing::Bool());

TEST(Identity, OfPersistentAndVolatileFiles) {
  FakeGuest guest;
  const FileSystem disk = guest.file_system(kExt4, "ext4", 0x800001, 0x10);
  const FileSystem none = guest.file_system(0x9123683e, "btrfs", 0x1c);
  const FileSystem tmp = guest.file_system(kTmpfs, "tmpfs", 0x17, 0x30);  // a UUID made up at the mount
  const Gva a = guest.inode(disk.sb, FileType::regular, 11), b = guest.inode(none.sb, FileType::regular, 11),
            c = guest.inode(tmp.sb, FileType::regular, 11);
  Reader r(guest.kernel());
  EXPECT_TRUE(Inode{a}.identity(r).persistent());
  EXPECT_EQ(Inode{a}.identity(r).dev, 0u) << "may be another at the next boot";
  EXPECT_FALSE(Inode{b}.identity(r).persistent());
  EXPECT_FALSE(Inode{c}.identity(r).persistent());
  EXPECT_NE(Inode{b}.identity(r).hash(), Inode{c}.identity(r).hash());
  EXPECT_EQ(SuperBlock{disk.sb}.name(r), "10111213-1415-1617-1819-1a1b1c1d1e1f");
  EXPECT_EQ(SuperBlock{none.sb}.name(r), "dev 0:28");
  EXPECT_EQ(SuperBlock{disk.sb}.device_name(r), "dev 8:1");
  EXPECT_EQ(SuperBlock{disk.sb}.type(r), "ext4");

  const uint64_t before = Inode{a}.identity(r).hash();
  const Gva again = guest.inode(disk.sb, FileType::regular, 11);  // evicted and loaded again
  EXPECT_EQ(Inode{again}.identity(r).hash(), before);
  guest.set(again, Field::inode_generation, uint32_t{1});  // the number was given to another file
  EXPECT_NE(Inode{again}.identity(r).hash(), before);
  EXPECT_FALSE(r.failed());
}

TEST(InodeNames, FirstCachedOneOrNone) {
  FakeGuest guest;
  const FileSystem disk = guest.file_system(kExt4, "ext4", 0x800001, 0x10);
  const Gva dentry = guest.make_file(disk, "a", 3);
  const Gva nameless = guest.inode(disk.sb, FileType::regular, 4);
  Reader r(guest.kernel());
  EXPECT_EQ(Inode{guest.inode_of(dentry)}.any_name(r).at, dentry);
  EXPECT_FALSE(Inode{nameless}.any_name(r).at);
}

}  // namespace
}  // namespace oboro::guest
