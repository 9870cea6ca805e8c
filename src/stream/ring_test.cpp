#include "stream/ring.h"

#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "stream/crc32c.h"

namespace oboro::stream {
namespace {

using Bytes = std::vector<std::byte>;

class RingTest : public testing::Test {
 protected:
  RingTest() {
    char name[] = "/tmp/oboro-ring-XXXXXX";
    path_ = std::string(::mkdtemp(name)) + "/ring";
  }
  ~RingTest() override {
    ::unlink(path_.c_str());
    ::rmdir(path_.substr(0, path_.rfind('/')).c_str());
  }
  Ring make(size_t capacity = 4096) {
    auto ring = Ring::create(path_, capacity);
    EXPECT_TRUE(ring) << ring.error().message;
    return std::move(*ring);
  }
  void poke(off_t offset, uint64_t value, size_t size) {
    const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), &value, size, offset), static_cast<ssize_t>(size));
  }
  std::string path_;
};

Bytes record(size_t size, uint32_t seed) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed + i * 7);
  return bytes;
}

TEST(Crc32c, KnownValueAndBothWays) {
  const char* text = "123456789";
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(text), 9);
  EXPECT_EQ(crc32c(bytes), 0xe3069283u);
  EXPECT_EQ(crc32c_portable(bytes), 0xe3069283u);
}

TEST_F(RingTest, FirstInFirstOutOverManyWraps) {
  Ring ring = make();
  Bytes out;
  bool damaged = false;
  for (uint32_t i = 0; i < 5000; ++i) {
    ASSERT_TRUE(ring.push(record(i % 1500, i)));
    ASSERT_TRUE(ring.push(record(i % 13, i)));
    ASSERT_TRUE(ring.pop(out, &damaged));
    ASSERT_EQ(out, record(i % 1500, i));
    ASSERT_TRUE(ring.pop(out, &damaged));
    ASSERT_EQ(out, record(i % 13, i));
    ASSERT_FALSE(ring.pop(out, &damaged));
    ASSERT_FALSE(damaged);
  }
}

TEST_F(RingTest, FullRefusesAndLosesNothing) {
  Ring ring = make();
  uint32_t pushed = 0;
  while (ring.push(record(100, pushed))) ++pushed;
  EXPECT_EQ(pushed, 4096u / 112);
  EXPECT_FALSE(ring.wait_for_room(100, 1));
  Bytes out;
  bool damaged = false;
  for (uint32_t i = 0; i < pushed; ++i) {
    ASSERT_TRUE(ring.pop(out, &damaged));
    ASSERT_EQ(out, record(100, i));
  }
  EXPECT_TRUE(ring.wait_for_room(100, 0));
  EXPECT_FALSE(ring.push(record(ring.max_record() + 1, 0)));
  EXPECT_FALSE(ring.wait_for_room(ring.max_record() + 1, 0));
  EXPECT_TRUE(ring.push(record(ring.max_record(), 0)));
}

TEST_F(RingTest, SurvivesReopening) {
  {
    Ring ring = make();
    ASSERT_TRUE(ring.push(record(10, 1)));
    ring.counters().last_seq = 42;
  }
  auto ring = Ring::open(path_);
  ASSERT_TRUE(ring) << ring.error().message;
  EXPECT_EQ(ring->counters().last_seq, 42u);
  Bytes out;
  bool damaged = false;
  EXPECT_TRUE(ring->pop(out, &damaged));
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(RingTest, PeekSeesButDoesNotTake) {
  Ring ring = make();
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(ring.push(record(1000, i)));
  auto onlooker = Ring::open_read_only(path_);
  ASSERT_TRUE(onlooker);
  Bytes out;
  bool damaged = false;
  for (int round = 0; round < 2; ++round) {
    uint64_t position = 0;
    for (uint32_t i = 0; i < 3; ++i) {
      ASSERT_TRUE(onlooker->peek(position, out, &damaged));
      ASSERT_EQ(out, record(1000, i));
    }
    EXPECT_FALSE(onlooker->peek(position, out, &damaged));
  }
  uint64_t position = 0;
  ASSERT_TRUE(ring.peek(position, out, &damaged));
  ring.take(position);
  ASSERT_TRUE(ring.push(record(1000, 3)));  // wraps
  uint64_t late = 0;
  for (uint32_t i = 1; i < 4; ++i) {
    ASSERT_TRUE(onlooker->peek(late, out, &damaged)) << i;
    EXPECT_EQ(out, record(1000, i));
  }
}

TEST_F(RingTest, DamagedRecordResetsOnce) {
  for (const bool length : {true, false}) {
    Ring ring = make();
    ASSERT_TRUE(ring.push(record(100, 1)));
    ASSERT_TRUE(ring.push(record(100, 2)));
    poke(4096 + (length ? 0 : 20), 0x7fffff77, 4);
    Bytes out;
    bool damaged = false;
    EXPECT_FALSE(ring.pop(out, &damaged));
    EXPECT_TRUE(damaged);
    EXPECT_FALSE(ring.pop(out, &damaged));
    EXPECT_FALSE(damaged);
    ASSERT_TRUE(ring.push(record(100, 3)));
    ASSERT_TRUE(ring.pop(out, &damaged));
    EXPECT_EQ(out, record(100, 3));
  }
}

TEST_F(RingTest, WrapMarkersAloneDoNotLoop) {
  Ring ring = make();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(ring.push(record(100, 1)));
  for (int at = 0; at < 4096; at += 8) poke(4096 + at, 0xffffffff, 8);
  Bytes out;
  bool damaged = false;
  EXPECT_FALSE(ring.pop(out, &damaged));
  EXPECT_TRUE(damaged);
}

TEST_F(RingTest, HostilePositionsAreDamageNotCrash) {
  for (const uint64_t position : {uint64_t{1}, uint64_t{13}, uint64_t{4095}, uint64_t{1} << 40, ~uint64_t{0}}) {
    Ring ring = make();
    ASSERT_TRUE(ring.push(record(100, 1)));
    poke(64, position, 8);
    EXPECT_FALSE(Ring::open(path_)) << position;
    Bytes out;
    bool damaged = false;
    while (ring.pop(out, &damaged)) continue;  // the whole records before the nonsense
    EXPECT_TRUE(damaged) << position;
    EXPECT_FALSE(ring.pop(out, &damaged));
    EXPECT_FALSE(damaged) << position;
  }
}

TEST_F(RingTest, RefusesWhatIsNotARing) {
  { Ring ring = make(); }
  ASSERT_EQ(::truncate(path_.c_str(), 5000), 0);
  EXPECT_EQ(Ring::open(path_).error().code, Errc::invalid);
  { Ring ring = make(); }
  poke(0, 0, 8);
  EXPECT_EQ(Ring::open(path_).error().code, Errc::invalid);
  { Ring ring = make(); }
  poke(8, 99, 4);
  EXPECT_EQ(Ring::open(path_).error().code, Errc::unsupported);
  EXPECT_EQ(Ring::open(path_ + "x").error().code, Errc::not_found);
  EXPECT_EQ(Ring::create(path_, 5000).error().code, Errc::invalid);
}

TEST_F(RingTest, OneConsumer) {
  Ring ring = make();
  auto first = Ring::open(path_);
  auto second = Ring::open(path_);
  EXPECT_TRUE(first->lock_consumer());
  EXPECT_EQ(second->lock_consumer().error().code, Errc::limit);
}

TEST_F(RingTest, KilledProducerLeavesWholeRecordsOnly) {
  for (int round = 0; round < 20; ++round) {
    Ring ring = make(65536);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (uint32_t i = 0;; ++i) {
        while (!ring.push(record(50 + i % 900, i))) ring.wait_for_room(1000, 10);
      }
    }
    Bytes out;
    bool damaged = false;
    uint32_t next = 0;
    const auto take_all = [&] {
      while (ring.pop(out, &damaged)) {
        ASSERT_EQ(out, record(50 + next % 900, next));
        ++next;
      }
      ASSERT_FALSE(damaged);
    };
    while (next < 200 + 37 * static_cast<uint32_t>(round)) {
      ring.wait_for_record(100);
      take_all();
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    take_all();
    ASSERT_TRUE(ring.push(record(50 + next % 900, next)));  // the next producer goes on
    take_all();
  }
}

TEST_F(RingTest, TwoThreadsLoseNoWakeUp) {
  Ring ring = make(8192);
  constexpr uint32_t kRecords = 20000;
  std::thread producer([&] {
    for (uint32_t i = 0; i < kRecords;) {
      if (ring.push(record(i % 700, i))) {
        ++i;
      } else {
        ring.wait_for_room(700, 60'000);
      }
    }
  });
  Bytes out;
  bool damaged = false;
  for (uint32_t i = 0; i < kRecords;) {
    if (ring.pop(out, &damaged)) {
      ASSERT_EQ(out, record(i % 700, i));
      ++i;
    } else {
      ASSERT_FALSE(damaged);
      ring.wait_for_record(60'000);  // a lost wake-up would show as the test's time-out
    }
  }
  producer.join();
}

TEST_F(RingTest, WaitsAreBounded) {
  Ring ring = make();
  ring.wait_for_record(1);
  Bytes out;
  bool damaged = false;
  EXPECT_FALSE(ring.pop(out, &damaged));
}

}  // namespace
}  // namespace oboro::stream
