// POSIX record locks (fcntl) between the processes of one hidden service. They are kept here and not by the host's
// kernel, for which one process, the proxy, has all of these files open.
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
    // Whose it is: the DescriptorTable of a process, or the OpenFile (F_OFD_...). Compared, never followed.
    const void* owner = nullptr;
    uint32_t pid = 0;  // 0: of an open file
    bool writes = false;
    int64_t first = 0, last = std::numeric_limits<int64_t>::max();  // both included

    bool overlaps(const Lock& other) const { return first <= other.last && other.first <= last; }
  };

  // As long as it lives, the lock that it was last refused is one that its owner waits for.
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

  // file: which one, the same for everybody who has it open. 0, -EAGAIN or -ENOLCK; with a waiter also -EDEADLK: who
  // holds it waits, over some corners, for the same owner. (Open files can be waited for by each other: nobody knows
  // who will unlock them.)
  int64_t set(uint64_t file, Lock lock, const Waiter* waiter = nullptr);
  // -ENOLCK: two would be left of one, and there are too many.
  int64_t unlock(uint64_t file, const Lock& range);
  // Of another owner, in the way of this one.
  std::optional<Lock> conflict(uint64_t file, const Lock& lock) const;
  // All that the owner has on this file.
  void release(const void* owner, uint64_t file);
  size_t size() const { return count_; }

 private:
  struct Wanted {
    uint64_t file;
    Lock lock;
  };
  void stops_waiting(const Waiter* waiter);
  // --- with the mutex
  const Lock* in_the_way(uint64_t file, const Lock& lock) const;
  bool would_deadlock(uint64_t file, const Lock& lock) const;
  int64_t replace(uint64_t file, Lock lock, bool adds);

  mutable std::mutex mutex_;
  std::atomic<size_t> count_{0};  // so that a service without any takes no mutex
  std::unordered_map<uint64_t, std::vector<Lock>> files_;
  std::unordered_map<const Waiter*, Wanted> waiting_;
};

}  // namespace oboro::hiding
