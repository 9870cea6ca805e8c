// POSIX record locks (fcntl) between the processes of one hidden service. They are kept here: for the host's kernel,
// one process (the proxy) has all of these files open.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace oboro::hiding {

class RecordLocks {
 public:
  static constexpr size_t kMost = 1 << 14;  // in all; a service may have been taken over

  struct Lock {
    // The owner: the DescriptorTable of a process, or the OpenFile (F_OFD_...). It is compared, never followed.
    const void* owner = nullptr;
    uint32_t pid = 0;  // 0: of an open file
    bool writes = false;
    int64_t first = 0, last = std::numeric_limits<int64_t>::max();  // both included

    bool overlaps(const Lock& other) const { return first <= other.last && other.first <= last; }
  };

  // As long as a Waiter lives, its owner waits for the lock that was last refused with it.
  class Waiter {
   public:
    explicit Waiter(RecordLocks& locks) : locks_(locks) {}
    ~Waiter() { locks_.stops_waiting(this); }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

   private:
    RecordLocks& locks_;
  };

  RecordLocks() = default;
  RecordLocks(const RecordLocks&) = delete;
  RecordLocks& operator=(const RecordLocks&) = delete;

  // file: the same number for everybody who has the file open. Returns 0, -EAGAIN or -ENOLCK; with a waiter also
  // -EDEADLK: the holder waits, over a few others, for the same owner. (Open files as owners count for no deadlock:
  // nobody knows which process will unlock them.)
  int64_t set(uint64_t file, Lock lock, const Waiter* waiter = nullptr);
  // -ENOLCK: one lock would become two, and there are too many.
  int64_t unlock(uint64_t file, const Lock& range);
  // A lock of another owner that is in the way of this one.
  std::optional<Lock> conflict(uint64_t file, const Lock& lock) const;
  // Releases all locks that the owner has on this file.
  void release(const void* owner, uint64_t file);
  size_t size() const { return count_; }

 private:
  struct Wanted {
    uint64_t file;
    Lock lock;
  };
  void stops_waiting(const Waiter* waiter);
  // --- with the mutex held
  const Lock* in_the_way(uint64_t file, const Lock& lock) const;
  bool would_deadlock(uint64_t file, const Lock& lock) const;
  int64_t replace(uint64_t file, Lock lock, bool adds);

  mutable std::mutex mutex_;
  std::atomic<size_t> count_{0};  // so that a service without any takes no mutex
  std::unordered_map<uint64_t, std::vector<Lock>> files_;
  std::unordered_map<const Waiter*, Wanted> waiting_;
};

}  // namespace oboro::hiding
