// Room on a file system that others need, too: a part of it is to stay free.
//
// Threads: one at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <sys/vfs.h>

namespace oboro {

class FreeSpace {
 public:
  // After this many bytes and files the kernel is asked again: others write to the disk, too. Sooner, the less is left:
  // so many others together do not go beyond the limit.
  static constexpr uint64_t kLookAfter = 16 << 20, kLookAfterFiles = 1024, kOthers = 16;
  struct Kept {
    uint64_t bytes = 0, files = 0;
  };
  // kept: how much is to stay free of a file system that has so many bytes and inodes in all.
  explicit FreeSpace(Kept (*kept)(uint64_t all_bytes, uint64_t all_files)) : kept_(kept) {}

  // Counts bytes and files that are about to be taken. fd: any descriptor on the file system, the same each time.
  // False: they would be taken of the part that is to stay free, or the kernel does not say.
  bool take(int fd, uint64_t bytes, uint64_t files = 0) {
    if (bytes > bytes_ || files > files_) {
      bytes_ = files_ = 0;
      struct statfs now {};
      if (fstatfs(fd, &now) != 0) return false;
      const uint64_t block = static_cast<uint64_t>(now.f_frsize ? now.f_frsize : now.f_bsize);
      const Kept kept = kept_(block * now.f_blocks, now.f_files);
      const uint64_t left = beyond(block * now.f_bavail, kept.bytes);
      // A file system without a fixed number of inodes takes them of its blocks.
      const uint64_t left_files = now.f_files > 0 ? beyond(now.f_ffree, kept.files) : std::max(files, kLookAfterFiles);
      if (bytes > left || files > left_files) return false;
      bytes_ = std::max(bytes, std::min(left / kOthers, kLookAfter));
      files_ = std::min(left_files, std::max(files, kLookAfterFiles));
    }
    bytes_ -= bytes;
    files_ -= files;
    return true;
  }

 private:
  static uint64_t beyond(uint64_t free, uint64_t kept) { return free > kept ? free - kept : 0; }

  Kept (*kept_)(uint64_t, uint64_t);
  uint64_t bytes_ = 0, files_ = 0;  // that may be taken before the next look
};

}  // namespace oboro
