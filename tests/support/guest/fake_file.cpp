#include "tests/support/guest/fake_guest.h"

namespace oboro::fake {
namespace {

constexpr uint32_t kReadable = 1, kWritable = 2;  // FMODE_READ, FMODE_WRITE
constexpr Gva kHashed{0xffff888000000008};        // some slot of the hash table
constexpr uint64_t kPipefsMagic = 0x50495045;

}  // namespace

FileSystem FakeGuest::file_system(uint64_t magic, std::string_view type, uint32_t dev, uint8_t uuid) {
  FileSystem fs{allocate(), Gva()};
  const Gva kind = allocate();
  set(kind, Field::file_system_type_name, string(type));
  set(fs.sb, Field::super_block_type, kind);
  set(fs.sb, Field::super_block_magic, magic);
  set(fs.sb, Field::super_block_dev, dev);
  for (uint64_t i = 0; uuid && i < 16; ++i)
    write(fs.sb + profile[Field::super_block_uuid] + i, static_cast<uint8_t>(uuid + i));
  fs.root = allocate();
  set(fs.root, Field::dentry_parent, fs.root);
  set(fs.root, Field::dentry_sb, fs.sb);
  set(fs.root, Field::dentry_name, string("/"));
  set(fs.root, Field::dentry_name_len, uint32_t{1});
  set(fs.root, Field::dentry_inode, inode(fs.sb, guest::FileType::directory, 2));
  set(fs.sb, Field::super_block_root, fs.root);
  if (!profile.has(Field::dentry_children)) append(fs.root + profile[Field::dentry_subdirs], Gva());
  if (profile.has(Field::mount_instance)) append(fs.sb + profile[Field::super_block_mounts], Gva());
  return fs;
}

Gva FakeGuest::inode(Gva sb, guest::FileType type, uint64_t number) {
  const Gva inode = allocate();
  set(inode, Field::inode_mode, static_cast<uint16_t>(static_cast<uint16_t>(type) | 0644));
  set(inode, Field::inode_ino, number);
  set(inode, Field::inode_generation, static_cast<uint32_t>(number * 7));
  set(inode, Field::inode_nlink, uint32_t{1});
  set(inode, Field::inode_sb, sb);
  const Gva mapping = allocate();
  set(inode, Field::inode_mapping, mapping);
  return inode;
}

Gva FakeGuest::dentry(Gva parent, std::string_view name, Gva inode) {
  const Gva dentry = allocate();
  set(dentry, Field::dentry_parent, parent);
  set(dentry, Field::dentry_sb, get(parent, Field::dentry_sb));
  set(dentry, Field::dentry_name, string(name));
  set(dentry, Field::dentry_name_len, static_cast<uint32_t>(name.size()));
  set(dentry, Field::dentry_inode, inode);
  if (inode) set(inode, Field::inode_dentries, dentry + profile[Field::dentry_alias]);
  set(dentry, Field::dentry_hash, kHashed);
  if (profile.has(Field::dentry_children)) {
    set(dentry, Field::dentry_sib, get(parent, Field::dentry_children));
    set(parent, Field::dentry_children, dentry + profile[Field::dentry_sib]);
  } else {
    append(dentry + profile[Field::dentry_subdirs], Gva());
    append(parent + profile[Field::dentry_subdirs], dentry + profile[Field::dentry_child]);
  }
  return dentry;
}

Gva FakeGuest::make_file(const FileSystem& fs, std::string_view name, uint64_t number) {
  return dentry(fs.root, name, inode(fs.sb, guest::FileType::regular, number));
}

Gva FakeGuest::mount(const FileSystem& fs, Gva parent, Gva mountpoint, Gva root, Gva ns) {
  const Gva mount = allocate();
  set(mount, Field::mount_parent, parent ? parent : mount);
  set(mount, Field::mount_mountpoint, mountpoint ? mountpoint : fs.root);
  set(mount, Field::mount_mnt_root, root ? root : fs.root);
  set(mount, Field::mount_ns, ns ? ns : mount_ns_);
  append(mount + profile[Field::mount_mounts], Gva());
  if (parent) append(parent + profile[Field::mount_mounts], mount + profile[Field::mount_child]);
  if (profile.has(Field::mount_instance)) {
    append(fs.sb + profile[Field::super_block_mounts], mount + profile[Field::mount_instance]);
  } else {
    Gva last = fs.sb + profile[Field::super_block_mounts];
    while (word(last)) last = Gva(word(last)) + profile[Field::mount_next_for_sb];
    write(last, mount);
  }
  return mount;
}

Gva FakeGuest::open(Gva dentry, Gva mount, bool writable) {
  const Gva file = allocate();
  set(file, Field::file_inode, get(dentry, Field::dentry_inode));
  set(file, Field::file_path_dentry, dentry);
  if (mount) set(file, Field::file_path_mnt, mount + profile[Field::mount_mnt]);
  set(file, Field::file_mode, writable ? kReadable | kWritable : kReadable);
  return file;
}

std::pair<Gva, Gva> FakeGuest::pipe() {
  const FileSystem pipefs = file_system(kPipefsMagic, "pipefs", 12);
  const Gva info = allocate();
  const Gva inode = this->inode(pipefs.sb, guest::FileType::fifo, 77);
  set(inode, Field::inode_pipe, info);
  return {info, open(dentry(pipefs.root, "", inode))};
}

}  // namespace oboro::fake
