#include "hiding/service/record_locks.h"

#include <cerrno>
#include <gtest/gtest.h>

namespace oboro::hiding {
namespace {

constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();

class RecordLocksTest : public testing::Test {
 protected:
  RecordLocks::Lock lock(const char* owner, bool writes, int64_t first, int64_t last = kEnd) const {
    return {owner, static_cast<uint32_t>(owner - names + 1), writes, first, last};
  }
  RecordLocks::Lock read(const char* owner, int64_t first, int64_t last = kEnd) const {
    return lock(owner, false, first, last);
  }
  RecordLocks::Lock write(const char* owner, int64_t first, int64_t last = kEnd) const {
    return lock(owner, true, first, last);
  }
  char names[3] = {};
  const char *a = names, *b = names + 1, *c = names + 2;
  RecordLocks locks;
};

TEST_F(RecordLocksTest, ConflictBetweenOwnersOnOneFile) {
  EXPECT_EQ(locks.set(1, write(a, 10, 19)), 0);
  EXPECT_EQ(locks.set(1, write(a, 0)), 0) << "with nobody's own";
  EXPECT_EQ(locks.set(1, read(b, 5, 5)), -EAGAIN);
  EXPECT_EQ(locks.set(2, read(b, 5, 5)), 0) << "another file";
  locks.release(a, 1);
  EXPECT_EQ(locks.set(1, read(a, 0, 9)), 0);
  EXPECT_EQ(locks.set(1, read(b, 0, 9)), 0);
  EXPECT_EQ(locks.set(1, write(b, 0, 9)), -EAGAIN);
  const auto found = locks.conflict(1, write(b, 9, 100));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pid, 1u);
  EXPECT_FALSE(found->writes);
  EXPECT_FALSE(locks.conflict(1, write(b, 10)));
  EXPECT_FALSE(locks.conflict(1, read(b, 0)));
}

TEST_F(RecordLocksTest, SplitsAndJoins) {
  EXPECT_EQ(locks.set(1, write(a, 0, 29)), 0);
  EXPECT_EQ(locks.unlock(1, write(a, 10, 19)), 0);
  EXPECT_EQ(locks.size(), 2u);
  EXPECT_EQ(locks.set(1, write(b, 10, 19)), 0);
  EXPECT_EQ(locks.set(1, write(b, 9, 10)), -EAGAIN);
  EXPECT_EQ(locks.set(1, write(b, 19, 20)), -EAGAIN);
  EXPECT_EQ(locks.unlock(1, write(b, 0)), 0) << "others' stay";
  EXPECT_EQ(locks.size(), 2u);
  EXPECT_EQ(locks.set(1, write(a, 10, 19)), 0);
  EXPECT_EQ(locks.size(), 1u) << "neighbours are one";
  EXPECT_EQ(locks.set(1, read(a, 5, 6)), 0) << "a part becomes shared";
  EXPECT_EQ(locks.size(), 3u);
  EXPECT_EQ(locks.set(1, read(b, 5, 6)), 0);
  EXPECT_EQ(locks.set(1, read(b, 7, 7)), -EAGAIN);
  EXPECT_EQ(locks.set(1, write(a, 0)), -EAGAIN);
  locks.release(b, 1);
  EXPECT_EQ(locks.set(1, write(a, 0)), 0);
  EXPECT_EQ(locks.size(), 1u);
  EXPECT_EQ(locks.unlock(1, write(a, 0, kEnd - 1)), 0);
  EXPECT_EQ(locks.conflict(1, write(b, 0))->first, kEnd);
  EXPECT_EQ(locks.unlock(1, write(a, kEnd)), 0);
  EXPECT_EQ(locks.size(), 0u);
}

TEST_F(RecordLocksTest, NoticesDeadlocks) {
  EXPECT_EQ(locks.set(1, write(a, 0, 0)), 0);
  EXPECT_EQ(locks.set(1, write(b, 1, 1)), 0);
  EXPECT_EQ(locks.set(2, write(c, 0, 0)), 0);
  RecordLocks::Waiter first(locks), third(locks);
  EXPECT_EQ(locks.set(1, write(a, 1, 1), &first), -EAGAIN);
  {
    RecordLocks::Waiter second(locks);
    EXPECT_EQ(locks.set(1, write(b, 0, 0), &second), -EDEADLK);
    EXPECT_EQ(locks.set(2, write(b, 0, 0), &second), -EAGAIN);
    EXPECT_EQ(locks.set(1, write(c, 0, 0), &third), -EDEADLK) << "over three corners";
  }
  EXPECT_EQ(locks.set(1, write(c, 0, 0), &third), -EAGAIN) << "the second waits no more";
  // A lock that was waited for, and is free since, is in nobody's way.
  locks.release(b, 1);
  EXPECT_EQ(locks.set(1, write(b, 0, 0), &third), -EAGAIN);
}

TEST_F(RecordLocksTest, OpenFilesWaitForEachOther) {
  RecordLocks::Lock one = write(a, 0, 0), two = write(b, 1, 1);
  one.pid = two.pid = 0;
  EXPECT_EQ(locks.set(1, one), 0);
  EXPECT_EQ(locks.set(1, two), 0);
  RecordLocks::Waiter first(locks), second(locks);
  std::swap(one.owner, two.owner);
  EXPECT_EQ(locks.set(1, one, &first), -EAGAIN);
  EXPECT_EQ(locks.set(1, two, &second), -EAGAIN);
}

TEST_F(RecordLocksTest, AreBounded) {
  for (size_t i = 0; i < RecordLocks::kMost; ++i)
    ASSERT_EQ(locks.set(i % 100, write(a, static_cast<int64_t>(i) * 10, static_cast<int64_t>(i) * 10 + 5)), 0);
  EXPECT_EQ(locks.set(200, write(a, 0)), -ENOLCK);
  EXPECT_EQ(locks.unlock(0, write(a, 2, 2)), -ENOLCK) << "it would be two";
  EXPECT_EQ(locks.unlock(0, write(a, 0, 5)), 0);
  EXPECT_EQ(locks.set(200, write(a, 0)), 0);
  for (uint64_t file = 0; file <= 200; ++file) locks.release(a, file);
  EXPECT_EQ(locks.size(), 0u);
}

}  // namespace
}  // namespace oboro::hiding
