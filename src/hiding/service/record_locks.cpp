#include "hiding/service/record_locks.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace oboro::hiding {
namespace {

constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();
constexpr int kCorners = 10;  // MAX_DEADLK_ITERATIONS, fs/locks.c

bool touches(const RecordLocks::Lock& one, const RecordLocks::Lock& other) {
  return one.overlaps(other) || (one.last != kEnd && one.last + 1 == other.first) ||
         (other.last != kEnd && other.last + 1 == one.first);
}

}  // namespace

const RecordLocks::Lock* RecordLocks::in_the_way(uint64_t file, const Lock& lock) const {
  const auto found = files_.find(file);
  if (found == files_.end()) return nullptr;
  for (const Lock& other : found->second)
    if (other.owner != lock.owner && other.overlaps(lock) && (other.writes || lock.writes)) return &other;
  return nullptr;
}

// Looks up now what the others wait for: an owner that was in their way may have unlocked since.
bool RecordLocks::would_deadlock(uint64_t file, const Lock& lock) const {
  const Lock* other = in_the_way(file, lock);
  for (int corner = 0; other && corner < kCorners; ++corner) {
    if (other->owner == lock.owner) return true;
    const Lock* next = nullptr;
    for (const auto& [waiter, wanted] : waiting_)
      if (wanted.lock.owner == other->owner && (next = in_the_way(wanted.file, wanted.lock))) break;
    other = next;
  }
  return false;
}

// The owner's locks in the range give way to the new one, or to nothing. Those beside the range stay.
int64_t RecordLocks::replace(uint64_t file, Lock lock, bool adds) {
  std::vector<Lock>& locks = files_[file];
  std::vector<Lock> next;
  next.reserve(locks.size() + 2);
  const Lock range = lock;
  for (const Lock& old : locks) {
    if (old.owner == range.owner && adds && old.writes == range.writes && touches(old, range)) {
      lock.first = std::min(lock.first, old.first);
      lock.last = std::max(lock.last, old.last);
    } else if (old.owner == range.owner && old.overlaps(range)) {
      Lock left = old, right = old;
      left.last = range.first - 1;
      right.first = range.last == kEnd ? kEnd : range.last + 1;
      if (old.first < range.first) next.push_back(left);
      if (old.last > range.last) next.push_back(right);
    } else {
      next.push_back(old);
    }
  }
  if (adds) next.push_back(lock);
  const size_t count = count_ - locks.size() + next.size();
  if (count > kMost && next.size() > locks.size()) {
    if (locks.empty()) files_.erase(file);
    return -ENOLCK;
  }
  count_ = count;
  if (next.empty())
    files_.erase(file);
  else
    locks = std::move(next);
  return 0;
}

int64_t RecordLocks::set(uint64_t file, Lock lock, const Waiter* waiter) {
  const std::lock_guard guard(mutex_);
  if (in_the_way(file, lock)) {
    if (!waiter) return -EAGAIN;
    waiting_.erase(waiter);
    if (lock.pid != 0 && would_deadlock(file, lock)) return -EDEADLK;
    waiting_.emplace(waiter, Wanted{file, lock});
    return -EAGAIN;
  }
  if (waiter) waiting_.erase(waiter);
  return replace(file, lock, true);
}

int64_t RecordLocks::unlock(uint64_t file, const Lock& range) {
  const std::lock_guard guard(mutex_);
  return files_.count(file) ? replace(file, range, false) : 0;
}

std::optional<RecordLocks::Lock> RecordLocks::conflict(uint64_t file, const Lock& lock) const {
  const std::lock_guard guard(mutex_);
  const Lock* other = in_the_way(file, lock);
  return other ? std::optional(*other) : std::nullopt;
}

void RecordLocks::release(const void* owner, uint64_t file) {
  if (count_ == 0) return;
  const std::lock_guard guard(mutex_);
  const auto found = files_.find(file);
  if (found == files_.end()) return;
  count_ -= std::erase_if(found->second, [&](const Lock& lock) { return lock.owner == owner; });
  if (found->second.empty()) files_.erase(found);
}

void RecordLocks::stops_waiting(const Waiter* waiter) {
  const std::lock_guard guard(mutex_);
  waiting_.erase(waiter);
}

}  // namespace oboro::hiding
