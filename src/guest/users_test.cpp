#include "guest/users.h"

#include <gtest/gtest.h>

#include "tests/support/engine/first_touch.h"
#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

using fake::FakeGuest;
using fake::FileSystem;

constexpr int kForEver = 1 << 29;  // times some microseconds: longer than the test
constexpr const char* kPasswd = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000:::\n";
constexpr const char* kOther = "root:x:0:0:root:/root:/bin/sh\nmallory:x:1000:1000:::\n";

// A guest whose first process has /etc/passwd below its root directory. With either form of a directory's children.
class UsersTest : public testing::TestWithParam<bool> {
 protected:
  UsersTest() {
    if (GetParam()) {  // before 6.8
      fake::set_offset(guest.profile, Field::dentry_subdirs, guest.profile[Field::dentry_children]);
      fake::set_offset(guest.profile, Field::dentry_child, guest.profile[Field::dentry_sib]);
      fake::set_missing(guest.profile, Field::dentry_children);
      fake::set_missing(guest.profile, Field::dentry_sib);
    }
    disk = guest.file_system(0xef53, "ext4", 0x800001, 0x10);
    mount = guest.mount(disk, Gva(), Gva());
    for (const char* name : {"bin", "home"}) guest.dentry(disk.root, name);
    etc = directory(disk.root, "etc");
    guest.dentry(etc, "hosts");
    passwd = file(etc, "passwd", kPasswd);
    guest.dentry(etc, "shadow");
    init = guest.task(1, "init");
    guest.set_root(init, mount, disk.root);
  }
  Gva directory(Gva parent, const char* name) {
    return guest.dentry(parent, name, guest.inode(disk.sb, FileType::directory, ++number));
  }
  Gva file(Gva parent, const char* name, std::string_view text) {
    const Gva inode = guest.inode(disk.sb, FileType::regular, ++number);
    guest.cache(inode, text);
    return guest.dentry(parent, name, inode);
  }
  void unhash(Gva dentry) { guest.set(dentry, Field::dentry_hash, Gva()); }
  void touch(Gva inode) { guest.set(inode, Field::inode_ctime_nsec, ++ticks); }
  void set_counter(Symbol symbol, uint32_t value) { guest.write(guest.symbol(symbol), value); }
  void mounts_changed() { set_counter(Symbol::mount_lock, changes += 2); }
  std::string name(uint32_t uid = 1000) { return users().name(uid); }
  Users& users() {
    if (!users_) users_.emplace(guest.kernel(), pause);
    return *users_;
  }

  FakeGuest guest;
  FileSystem disk;
  Gva mount, etc, passwd, init;
  uint64_t number = 100;
  uint32_t ticks = 0, changes = 0;
  int pause = 0;

 private:
  std::optional<Users> users_;
};

TEST_P(UsersTest, NameByNumber) {
  EXPECT_EQ(name(1000), "alice");
  EXPECT_EQ(name(0), "root");
  EXPECT_EQ(name(1001), "");
  EXPECT_EQ(name(UINT32_MAX), "") << "no user";
}

TEST_P(UsersTest, TheFileIsReadOncePerVersion) {
  const Gva inode = guest.inode_of(passwd);
  ASSERT_EQ(name(), "alice");
  guest.cache(inode, kOther);
  guest.set(inode, Field::inode_size, uint64_t{std::string_view(kPasswd).size()});
  EXPECT_EQ(name(), "alice") << "nothing says that it has changed";
  for (const auto change : {Field::inode_mtime, Field::inode_mtime_nsec, Field::inode_ctime, Field::inode_ctime_nsec}) {
    guest.cache(inode, kPasswd);
    guest.set(inode, change, ++ticks);
    EXPECT_EQ(name(), "alice");
    guest.cache(inode, kOther);
    guest.set(inode, Field::inode_size, uint64_t{std::string_view(kPasswd).size()});
    EXPECT_EQ(name(), "alice");
    guest.set(inode, change, ++ticks);
    EXPECT_EQ(name(0), "root");
    EXPECT_NE(name(), "alice");
  }
  guest.cache(inode, kOther);
  EXPECT_EQ(name(), "mallory") << "another size";
}

TEST_P(UsersTest, ReplacedByRename) {
  ASSERT_EQ(name(), "alice");
  // The old dentry stays for processes that have the file open. It is in no hash chain.
  unhash(passwd);
  file(etc, "passwd", kOther);
  EXPECT_EQ(name(), "mallory");
}

TEST_P(UsersTest, WhatIsCalledSoNoMore) {
  ASSERT_EQ(name(), "alice");
  guest.set(passwd, Field::dentry_name, guest.string("passwx"));
  EXPECT_EQ(name(), "");
  guest.set(passwd, Field::dentry_name, guest.string("passwd"));
  ASSERT_EQ(name(), "alice");
  guest.set(passwd, Field::dentry_parent, disk.root);
  EXPECT_EQ(name(), "") << "moved";
  guest.set(passwd, Field::dentry_parent, etc);
  guest.set(passwd, Field::dentry_inode, Gva());
  EXPECT_EQ(name(), "") << "deleted";
}

TEST_P(UsersTest, AnotherFileInTheInodesMemory) {
  ASSERT_EQ(name(), "alice");
  guest.cache(guest.inode_of(passwd), kOther);
  guest.set(guest.inode_of(passwd), Field::inode_size, uint64_t{std::string_view(kPasswd).size()});
  guest.set(guest.inode_of(passwd), Field::inode_ino, uint64_t{9999});
  EXPECT_NE(name(), "alice");
}

TEST_P(UsersTest, OnlyWhatIsCached) {
  const Gva inode = guest.inode_of(passwd);
  const Gva slot = guest.cache_slot(inode, 0);
  const uint64_t page = guest.word(slot);
  guest.write(slot, uint64_t{0});
  EXPECT_EQ(name(), "");
  guest.write(slot, page);
  EXPECT_EQ(name(), "alice") << "read by somebody in the meantime";
  guest.write(slot, uint64_t{0});
  EXPECT_EQ(name(), "alice") << "what is known of this version stays so";
  touch(inode);
  EXPECT_EQ(name(), "") << "nothing is known of that one";
}

TEST_P(UsersTest, NeverHalfAFile) {
  std::string text = kPasswd;
  text += "bob:x:1001:0:::\n" + std::string(fake::kPageSize, '#') + "\ncarol:x:2000:0:::\n";
  const Gva inode = guest.inode_of(passwd);
  guest.cache(inode, text);
  ASSERT_EQ(name(), "alice");
  guest.write(guest.cache_slot(inode, 0), uint64_t{0});
  touch(inode);
  EXPECT_EQ(name(2000), "");
  EXPECT_EQ(name(), "");
}

TEST_P(UsersTest, NotWhileItIsWritten) {
  const Gva inode = guest.inode_of(passwd);
  guest.set(inode, Field::inode_rwsem, uint64_t{1});
  EXPECT_EQ(name(), "");
  guest.set(inode, Field::inode_rwsem, uint64_t{0x100});  // a reader
  EXPECT_EQ(name(), "alice");
}

// Elsewhere in the guest, files are renamed all the time.
TEST_P(UsersTest, RenamesElsewhereDoNotMatter) {
  const Gva inode = guest.inode_of(passwd);
  const Gpa bytes = *guest.kernel().physical(guest.cache(inode, kPasswd));
  set_counter(Symbol::rename_lock, 1);
  EXPECT_EQ(name(), "alice") << "one is under way";
  touch(inode);
  const fake::FirstTouch changed(guest.memory, bytes, [&] { set_counter(Symbol::rename_lock, 3); });
  EXPECT_EQ(name(), "alice");
  EXPECT_TRUE(changed.touched());
}

// An expensive look is not repeated again and again because a guest makes it necessary.
TEST_P(UsersTest, LooksAreApart) {
  pause = kForEver;
  ASSERT_EQ(name(), "alice");
  set_counter(Symbol::rename_lock, 2);
  EXPECT_EQ(name(), "alice") << "that asks for no new look";
  mounts_changed();
  EXPECT_EQ(name(), "") << "the way has to be looked for again: not yet";
  EXPECT_EQ(name(0), "");
}
TEST_P(UsersTest, AFailureIsNotTriedAgainAtOnce) {
  pause = kForEver;
  unhash(passwd);
  EXPECT_EQ(name(), "");
  guest.set(passwd, Field::dentry_hash, Gva(1));
  EXPECT_EQ(name(), "");
}

// A writer, a rename or a mount changes something while the file is read.
TEST_P(UsersTest, NotWhatChangesWhileItIsRead) {
  const Gva inode = guest.inode_of(passwd);
  const Gpa bytes = *guest.kernel().physical(guest.cache(inode, kPasswd));
  const auto while_read = [&](auto change) {
    touch(inode);
    const fake::FirstTouch changed(guest.memory, bytes, change);
    EXPECT_EQ(name(), "");
    EXPECT_TRUE(changed.touched());
  };
  const auto write_lock = [&](uint64_t value) { guest.set(inode, Field::inode_rwsem, value); };
  while_read([&] { write_lock(1); });
  write_lock(0);
  while_read([&] { guest.set(inode, Field::inode_size, uint64_t{7}); });
  guest.set(inode, Field::inode_size, uint64_t{std::string_view(kPasswd).size()});
  while_read([&] { set_counter(Symbol::mount_lock, 1); });
  set_counter(Symbol::mount_lock, 2);
  ASSERT_EQ(name(), "alice");
  while_read([&] { unhash(passwd); });
  guest.set(passwd, Field::dentry_hash, Gva(1));
  ASSERT_EQ(name(), "alice");
  write_lock(1);
  {
    touch(inode);
    const fake::FirstTouch ended(guest.memory, bytes, [&] { write_lock(0); });
    EXPECT_EQ(name(), "");
  }
  write_lock(0);
  EXPECT_EQ(name(), "alice");
}

TEST_P(UsersTest, OfALargeFileTheBeginning) {
  const Gva inode = guest.inode_of(passwd);
  std::string text = kPasswd;
  text.resize(Users::kMaxFile - std::string_view("\nbob:x:1").size(), '#');
  text += "\nbob:x:10";
  text.pop_back();  // the number goes on behind the bound
  guest.cache(inode, text.substr(0, Users::kMaxFile - 1));
  guest.set(inode, Field::inode_size, UINT64_MAX);
  EXPECT_EQ(name(), "alice");
  EXPECT_EQ(name(1), "");
}

TEST_P(UsersTest, NoRegularFile) {
  guest.set(guest.inode_of(passwd), Field::inode_mode, static_cast<uint16_t>(FileType::link));
  EXPECT_EQ(name(), "");
}

TEST_P(UsersTest, AnotherRoot) {
  ASSERT_EQ(name(), "alice");
  const FileSystem next = guest.file_system(0xef53, "ext4", 0x800002, 0x20);
  const Gva next_mount = guest.mount(next, Gva(), Gva());
  const Gva next_etc = directory(next.root, "etc");
  file(next_etc, "passwd", kOther);
  guest.set_root(init, next_mount, next.root);
  EXPECT_EQ(name(), "mallory");
  guest.set(init, Field::task_tgid, uint32_t{7});
  EXPECT_EQ(name(), "") << "that is not the first process";
}

TEST_P(UsersTest, WhatIsMountedThereCounts) {
  ASSERT_EQ(name(), "alice");
  const FileSystem over = guest.file_system(0x01021994, "tmpfs", 9);
  guest.mount(over, mount, guest.dentry(disk.root, "tmp"));
  mounts_changed();
  ASSERT_EQ(name(), "alice") << "elsewhere";
  guest.mount(over, mount, etc);
  mounts_changed();
  EXPECT_EQ(name(), "") << "nothing in it";
  file(over.root, "passwd", kOther);
  EXPECT_EQ(name(), "mallory");
}

TEST_P(UsersTest, AFileMountedOnTheFile) {
  const Gva bound = file(disk.root, "bound", kOther);
  guest.mount(disk, mount, passwd, bound);
  EXPECT_EQ(name(), "mallory");
}

TEST_P(UsersTest, MountsUponEachOther) {
  Gva at = mount, on = etc;
  FileSystem top{};
  for (uint32_t i = 0; i < 3; ++i) {
    top = guest.file_system(0x01021994, "tmpfs", 9 + i);
    at = guest.mount(top, at, on);
    on = top.root;
  }
  file(top.root, "passwd", kOther);
  EXPECT_EQ(name(), "mallory");
  for (uint32_t i = 0; i < 2; ++i) {
    top = guest.file_system(0x01021994, "tmpfs", 19 + i);
    at = guest.mount(top, at, on);
    on = top.root;
    file(top.root, "passwd", kOther);
    mounts_changed();
  }
  EXPECT_EQ(name(), "") << "too many to be followed";
}

TEST_P(UsersTest, NotWhileNamesOrMountsChange) {
  set_counter(Symbol::mount_lock, 1);
  EXPECT_EQ(name(), "");
  set_counter(Symbol::mount_lock, 2);
  EXPECT_EQ(name(), "alice");
}

TEST_P(UsersTest, AKernelThatCountsNoMounts) {
  fake::set_missing(guest.profile, Symbol::mount_lock);
  fake::set_missing(guest.profile, Symbol::rename_lock);
  ASSERT_EQ(name(), "alice");
  const FileSystem over = guest.file_system(0x01021994, "tmpfs", 9);
  guest.mount(over, mount, etc);
  file(over.root, "passwd", kOther);
  EXPECT_EQ(name(), "mallory") << "so each time is the first";
}

TEST_P(UsersTest, OnlyNamesThatALookUpFinds) {
  unhash(passwd);
  EXPECT_EQ(name(), "");
  const Gva negative = guest.dentry(etc, "passwd");
  EXPECT_EQ(name(), "");
  unhash(negative);
  file(etc, "passwd", kOther);
  unhash(file(etc, "passwd", kPasswd));
  EXPECT_EQ(name(), "mallory");
}

TEST_P(UsersTest, ADirectoryWithManyNames) {
  const bool ring = GetParam();  // where a new name is the last one, else the first
  const Gva head = etc + guest.profile[ring ? Field::dentry_subdirs : Field::dentry_children];
  guest.write(head, ring ? head : Gva());
  guest.write(head + 8, head);
  if (!ring) file(etc, "passwd", kOther);
  for (size_t i = 1; i < Users::kMaxChildren; ++i) guest.dentry(etc, "x");
  if (ring) passwd = file(etc, "passwd", kOther);
  EXPECT_EQ(name(), "mallory") << "the last one that is looked at";
  if (ring) unhash(passwd);
  guest.dentry(etc, "x");
  if (ring) file(etc, "passwd", kOther);
  EXPECT_EQ(name(), ring ? "" : "mallory") << "known from before where it is still there";
  mounts_changed();
  EXPECT_EQ(name(), "");
}

TEST_P(UsersTest, CyclesEnd) {
  const Field link = GetParam() ? Field::dentry_child : Field::dentry_sib;
  const Gva head = disk.root + guest.profile[GetParam() ? Field::dentry_subdirs : Field::dentry_children];
  const Gva first(guest.word(head));
  guest.set(etc, Field::dentry_name, guest.string("not"));
  guest.write(first, first);
  EXPECT_EQ(name(), "");
  guest.write(first, first - guest.profile[link] + 1);  // not at a dentry, not even aligned
  EXPECT_EQ(name(), "");
}

TEST_P(UsersTest, ARingOfMountsThatDoesNotClose) {
  const Gva head = mount + guest.profile[Field::mount_mounts];
  const Gva other = guest.allocate();
  guest.write(other, other);
  guest.write(head, other);
  EXPECT_EQ(name(), "") << "something may be mounted there";
  guest.write(head, Gva());
  EXPECT_EQ(name(), "");
  guest.write(head, head);
  EXPECT_EQ(name(), "alice");
}

TEST_P(UsersTest, NothingUnreadableGivesAName) {
  ASSERT_EQ(name(), "alice");
  const Gva inode = guest.inode_of(passwd);
  for (const Gva object : {init, Gva(guest.get(init, Field::task_fs)), etc, passwd, inode}) {
    guest.hide(object);
    EXPECT_EQ(name(), "");
    guest.memory.show_all();
    EXPECT_EQ(name(), "alice");
  }
  for (const Gva object : {mount, disk.root, Gva(guest.get(inode, Field::inode_mapping))}) {
    guest.hide(object);
    mounts_changed();
    touch(inode);
    EXPECT_EQ(name(), "");
    guest.memory.show_all();
    EXPECT_EQ(name(), "alice");
  }
}

TEST_P(UsersTest, AKernelThatLacksSomething) {
  for (const Field field :
       {Field::task_fs, Field::fs_struct_root, Field::dentry_hash, Field::mount_mounts, Field::mount_child,
        Field::inode_mtime, Field::inode_mtime_nsec, Field::inode_ctime, Field::inode_ctime_nsec, Field::inode_rwsem,
        Field::address_space_pages, GetParam() ? Field::dentry_subdirs : Field::dentry_children,
        GetParam() ? Field::dentry_child : Field::dentry_sib}) {
    Profile lacking = guest.profile;
    fake::set_missing(lacking, field);
    const Kernel kernel(guest.memory.ram(), lacking, guest.layout);
    EXPECT_EQ(Users(kernel).name(1000), "") << static_cast<int>(field);
  }
  EXPECT_EQ(name(), "alice");
}

INSTANTIATE_TEST_SUITE_P(Children, UsersTest, testing::Bool(),
                         [](const auto& form) { return form.param ? "Ring" : "Chain"; });

}  // namespace
}  // namespace oboro::guest
