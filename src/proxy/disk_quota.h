// How much of a disk the files of one hidden service may take (max_disk), in allocated bytes: a hole takes none, a file
// with several names counts once, and one that has lost its last name counts as long as it is open. Counted call by
// call, with one walk over the files at the start. A call costs two statx(2) at most, however many files there are.
//
// The count of each file is what it takes, absolutely, as of the last call that changed it. So it does not drift when
// the file system itself changes its mind, and calls may work on one file at the same time.
//
// Threads: any, but count() comes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <sys/vfs.h>
#include <unordered_map>

#include "base/fd.h"
#include "base/result.h"

struct statx;

namespace oboro::proxy {

class DiskQuota : public std::enable_shared_from_this<DiskQuota> {
 public:
  // The least that a file counts: its inode and its name, too, take room.
  static constexpr uint64_t kPerFile = 4096;
  static constexpr uint64_t kBlock = 4096;

  // To be made by make_shared: what is open holds it. most: bytes; 0: there is no quota, and nothing here costs
  // anything. most_files: that are counted at the same time.
  DiskQuota(uint64_t most, size_t most_files) : most_(most), most_files_(most_files) {}
  DiskQuota(const DiskQuota&) = delete;
  DiskQuota& operator=(const DiskQuota&) = delete;

  bool on() const { return most_ != 0; }
  // Counts what is there beneath the root. Directories that are closed to their owner are opened for a moment. Errors:
  // io; limit (too many files).
  Result<void> count(int root);
  uint64_t used() const;

  // Bytes that a call is about to take; nobody else gets them meanwhile.
  class Room {
   public:
    Room() = default;
    Room(DiskQuota* quota, uint64_t bytes, uint64_t size) : quota_(quota), bytes_(bytes), size_(size), there_(true) {}
    Room(Room&& other) noexcept;
    Room& operator=(Room&&) = delete;
    ~Room();
    explicit operator bool() const { return there_; }
    uint64_t size() const { return size_; }  // of a write: so much fits, which may be less than was asked for

   private:
    DiskQuota* quota_ = nullptr;
    uint64_t bytes_ = 0, size_ = 0;
    bool there_ = false;
  };
  Room for_file();
  // For a write to the file, or an allocation, at this offset; -1: where the descriptor is.
  Room for_bytes(int fd, int64_t offset, uint64_t size);

  // After a call, whether it succeeded or not: counts the file anew. grown: bytes were written to it. What the file
  // system has taken ahead for more of them does not count then.
  void changed(int fd, bool grown = false);
  void changed(int directory, const char* name);
  // A name is about to go. Its file, to be given to gone() after that; nothing if there is no such file or no quota.
  UniqueFd hold(int directory, const char* name) const;
  void gone(const UniqueFd& file);
  // The file is open as long as this lives.
  std::shared_ptr<const void> opened(int fd, bool emptied);

  // What the service is told of its file system: no more than it may have.
  void cut(struct statfs& status) const;

 private:
  struct Open {
    size_t count = 0;
    bool nameless = false;
  };
  class Token;
  static bool look(int fd, const char* name, int flags, struct statx& status);
  static uint64_t key_of(const struct statx& status);
  void set(const struct statx& status, bool grown);
  void take_out(uint64_t key);
  void closed(uint64_t key);
  uint64_t left() const;
  Result<void> count_entry(int directory, const char* name, bool& is_directory);

  const uint64_t most_;
  const size_t most_files_;
  mutable std::mutex mutex_;
  uint64_t used_ = 0, reserved_ = 0;
  std::unordered_map<uint64_t, uint64_t> files_;  // bytes
  std::unordered_map<uint64_t, Open> open_;
};

}  // namespace oboro::proxy
