// The calls of a hidden service that take room on the disk, or give it back. Two bounds hold: the part of the file
// system that services do not get (disk_reserve.h), and what this one may have (disk_quota.h). Beyond either a call
// fails with ENOSPC, as on a disk that is full: programs know that error better than EDQUOT. A write that fits in part
// writes that part.
//
// Threads: any, but count() comes first.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <sys/types.h>

#include "proxy/disk_quota.h"
#include "proxy/disk_reserve.h"

namespace oboro::proxy {

struct DiskLimits {
  bool shared = false;           // others need a part of the file system, too
  uint64_t most = 0;             // bytes; 0: no such bound
  size_t most_files = SIZE_MAX;  // that are counted for that
};

class Disk {
 public:
  // root: any descriptor on the file system; it outlives this.
  Disk(int root, const DiskLimits& limits)
      : root_(root),
        reserve_(root, limits.shared),
        quota_(std::make_shared<DiskQuota>(limits.most, limits.most_files)) {}
  Result<void> count() { return quota_->count(root_); }
  DiskQuota& quota() const { return *quota_; }

  // Before a file is made. False: there is no room for one.
  DiskQuota::Room room_for_file();
  bool has_room_for_attribute() { return reserve_.has_room(0); }

  // The system calls, with 0, a number of bytes, or -errno.
  int64_t write(int fd, std::span<const std::byte> data, int64_t offset);
  int64_t truncate(int fd, int64_t size);
  int64_t allocate(int fd, int64_t mode, int64_t offset, int64_t size);
  int64_t make_directory(int directory, const char* name, mode_t mode);
  int64_t make_symbolic_link(const char* target, int directory, const char* name);
  int64_t link(int from, const char* from_name, int to, const char* to_name);
  int64_t rename(int from, const char* from_name, int to, const char* to_name, unsigned flags);
  int64_t unlink(int directory, const char* name, int flags);

 private:
  int64_t made(int result, int directory, const char* name);

  const int root_;
  DiskReserve reserve_;
  const std::shared_ptr<DiskQuota> quota_;
};

}  // namespace oboro::proxy
