// file, inode, dentry, mount, super_block: a file that is opened, and its names.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "guest/kernel.h"
#include "labels/file_identity.h"

namespace oboro::guest {

inline constexpr size_t kMaxPath = 4096;  // PATH_MAX

// The mask of file_permission() (MAY_WRITE, MAY_READ, include/linux/fs.h).
inline constexpr uint64_t kMayWrite = 0x2, kMayRead = 0x4;

// S_IFMT values of inode.i_mode.
enum class FileType : uint16_t {
  fifo = 0x1000,
  character = 0x2000,
  directory = 0x4000,
  block = 0x6000,
  regular = 0x8000,
  link = 0xa000,
  socket = 0xc000
};

using labels::FileIdentity;

struct SuperBlock {
  Gva at;
  uint32_t dev(Reader& r) const { return r.get<uint32_t>(at, Field::super_block_dev); }
  uint64_t magic(Reader& r) const { return r.get<uint64_t>(at, Field::super_block_magic); }
  std::string type(Reader& r) const;         // "ext4"
  std::string name(Reader& r) const;         // UUID text, or device_name() where it has none
  std::string device_name(Reader& r) const;  // "dev 0:23"
  bool is_pipefs(Reader& r) const;
  // False for anonymous inodes (eventfd, epoll...), which are all one inode and hold no data.
  bool holds_data(Reader& r) const;
  // True if its inodes live only as long as they are in memory (tmpfs and the like).
  bool is_volatile(Reader& r) const;
};

struct Dentry;

struct Inode {
  Gva at;
  uint16_t mode(Reader& r) const { return r.get<uint16_t>(at, Field::inode_mode); }
  FileType type(Reader& r) const { return static_cast<FileType>(mode(r) & 0xf000); }
  uint64_t number(Reader& r) const { return r.get<uint64_t>(at, Field::inode_ino); }
  uint32_t generation(Reader& r) const { return r.get<uint32_t>(at, Field::inode_generation); }
  uint32_t links(Reader& r) const { return r.get<uint32_t>(at, Field::inode_nlink); }
  SuperBlock super_block(Reader& r) const { return {r.pointer(at, Field::inode_sb)}; }
  FileIdentity identity(Reader& r) const;
  Dentry any_name(Reader& r) const;  // the first cached name; null if none is cached
};

struct Dentry {
  Gva at;
  Inode inode(Reader& r) const { return {r.pointer(at, Field::dentry_inode)}; }
  Dentry parent(Reader& r) const { return {r.pointer(at, Field::dentry_parent)}; }  // itself at the root
  // The true path: the mount point of the file system's root in the initial namespace, and the names from there.
  std::string true_path(Reader& r) const;
};

struct File {
  Gva at;
  Inode inode(Reader& r) const { return {r.pointer(at, Field::file_inode)}; }
  Dentry dentry(Reader& r) const { return {r.pointer(at, Field::file_path_dentry)}; }
  bool writable(Reader& r) const { return r.get<uint32_t>(at, Field::file_mode) & 2; }  // FMODE_WRITE
  std::string path(Reader& r) const { return dentry(r).true_path(r); }
};

// The struct mount of a file system's root in the initial mount namespace, which says where the file system "is". If
// there is none, another mount of the root (a container's own tmpfs, a detached mount). Null if there is no mount.
Gva main_mount(Reader& r, SuperBlock sb);

// A path that is put together from its end, without allocation: classification looks at every open.
class PathBuffer {
 public:
  // The true path of dentry. False if it could not be read. A path that is too long keeps its end, and sets
  // truncated().
  bool assign_true_path(Reader& r, Dentry dentry);
  // The path by which file was opened, through its own mount (bind mounts, other mount namespaces). Empty, and false,
  // if that must be the true path.
  bool assign_mounted_path(Reader& r, File file);
  std::string_view view() const { return {data_ + start_, kMaxPath - start_}; }
  bool truncated() const { return truncated_; }

 private:
  void clear();
  bool prepend_names(Reader& r, Gva dentry, Gva stop);
  bool prepend_mounts(Reader& r, Gva mount);
  void prepend(const char* text, size_t size);

  char data_[kMaxPath];
  size_t start_ = kMaxPath;
  bool truncated_ = false;
};

}  // namespace oboro::guest
