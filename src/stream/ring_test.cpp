#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <optional>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "stream/crc32c.h"
#include "stream/ring_reader.h"
#include "stream/ring_writer.h"

namespace oboro::stream {
namespace {

using Bytes = std::vector<std::byte>;
using Next = RingReader::Next;

Bytes record(size_t size, uint32_t seed) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed + i * 7);
  return bytes;
}

// A ring and its two sides. A record that is popped is taken at once.
class Ring {
 public:
  explicit Ring(const std::string& path, size_t capacity) {
    auto made = RingReader::create(path, capacity);
    EXPECT_TRUE(made) << made.error().message;
    reader.emplace(std::move(*made));
    auto opened = RingWriter::open(path);
    EXPECT_TRUE(opened) << opened.error().message;
    writer.emplace(std::move(*opened));
  }
  bool push(const Bytes& bytes) { return writer->push(bytes); }
  Next pop() {
    std::span<const std::byte> got;
    const Next next = reader->next(got);
    if (next == Next::record) out.assign(got.begin(), got.end());
    reader->take();
    return next;
  }
  void expect(const Bytes& bytes) {
    ASSERT_EQ(pop(), Next::record) << reader->damage();
    ASSERT_EQ(out, bytes);
  }
  std::optional<RingReader> reader;
  std::optional<RingWriter> writer;
  Bytes out;
};

class RingTest : public testing::Test {
 protected:
  RingTest() {
    char name[] = "/tmp/oboro-ring-XXXXXX";
    path_ = std::string(::mkdtemp(name)) + "/ring";
  }
  ~RingTest() override {
    ::unlink(path_.c_str());
    ::unlink(read_path(path_).c_str());
    ::rmdir(path_.substr(0, path_.rfind('/')).c_str());
  }
  Ring make(size_t capacity = 4096) { return Ring(path_, capacity); }
  void poke(off_t offset, uint64_t value, size_t size) {
    const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), &value, size, offset), static_cast<ssize_t>(size));
  }
  std::string path_;
};

TEST(Crc32c, KnownValueAndBothWays) {
  const char* text = "123456789";
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(text), 9);
  EXPECT_EQ(crc32c(bytes), 0xe3069283u);
  EXPECT_EQ(crc32c_portable(bytes), 0xe3069283u);
}

TEST_F(RingTest, FirstInFirstOutOverManyWraps) {
  Ring ring = make();
  for (uint32_t i = 0; i < 5000; ++i) {
    ASSERT_TRUE(ring.push(record(i % 1500, i)));
    ASSERT_TRUE(ring.push(record(i % 13, i)));
    ring.expect(record(i % 1500, i));
    ring.expect(record(i % 13, i));
    ASSERT_EQ(ring.pop(), Next::nothing);
  }
}

TEST_F(RingTest, FullRefusesAndLosesNothing) {
  Ring ring = make();
  uint32_t pushed = 0;
  while (ring.push(record(100, pushed))) ++pushed;
  EXPECT_EQ(pushed, 4096u / 112);
  EXPECT_FALSE(ring.writer->wait_for_room(100, 1));
  std::span<const std::byte> got;
  for (uint32_t i = 0; i < pushed; ++i) {
    ASSERT_EQ(ring.reader->next(got), Next::record);
    ASSERT_EQ(Bytes(got.begin(), got.end()), record(100, i));
  }
  EXPECT_FALSE(ring.writer->wait_for_room(100, 1)) << "they are read, but not taken";
  ring.reader->take();
  const size_t most = ring.writer->max_record();
  EXPECT_TRUE(ring.writer->wait_for_room(100, 0));
  EXPECT_FALSE(ring.push(record(most + 1, 0)));
  EXPECT_FALSE(ring.writer->wait_for_room(most + 1, 0));
  EXPECT_TRUE(ring.push(record(most, 0)));
  ring.expect(record(most, 0));
}

TEST_F(RingTest, APartIsForThoseThatMustNotBeLost) {
  using Part = RingWriter::Part;
  Ring ring = make();
  for (uint32_t round = 0; round < 50; ++round) {  // wherever the position stands
    uint32_t shared = 0, kept = 0;
    while (ring.writer->push(record(100, shared), Part::shared)) ++shared;
    EXPECT_FALSE(ring.writer->wait_for_room(100, 0, Part::shared));
    EXPECT_TRUE(ring.writer->wait_for_room(100, 0, Part::all));
    while (ring.writer->push(record(100, shared + kept))) ++kept;
    EXPECT_LE(shared, 3072u / 112);
    EXPECT_GE(kept, 1024u / 112 - 1) << "the round " << round;
    for (uint32_t i = 0; i < shared + kept; ++i) ring.expect(record(100, i));
    const size_t most = ring.writer->max_record(Part::shared);
    EXPECT_FALSE(ring.writer->push(record(most + 1, 0), Part::shared));
    ASSERT_TRUE(ring.writer->push(record(most, 0), Part::shared));
    ring.expect(record(most, 0));
    ASSERT_TRUE(ring.push(record(round % 70, round)));
    ring.expect(record(round % 70, round));
  }
}

TEST_F(RingTest, RecordsThatAreLongerThanWhatIsReadAtOnce) {
  Ring ring = make(4 << 20);
  for (uint32_t i = 0; i < 20; ++i) {
    for (const size_t size : {size_t{300'000} + i, size_t{100}, size_t{1'000'000} + i})
      ASSERT_TRUE(ring.push(record(size, i)));
    for (const size_t size : {size_t{300'000} + i, size_t{100}, size_t{1'000'000} + i}) ring.expect(record(size, i));
  }
}

TEST_F(RingTest, TheNextReaderGoesOnWhereThisOneTook) {
  {
    Ring ring = make();
    for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(ring.push(record(10, i)));
    ring.expect(record(10, 0));
    std::span<const std::byte> got;
    ASSERT_EQ(ring.reader->next(got), Next::record) << "read, but not taken";
    ring.writer->counters().last_seq = 42;
  }
  auto reader = RingReader::open(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->counters().last_seq, 42u);
  std::span<const std::byte> got;
  for (uint32_t i = 1; i < 3; ++i) {
    EXPECT_EQ(reader->next(got), Next::record);
    EXPECT_EQ(Bytes(got.begin(), got.end()), record(10, i));
  }
  EXPECT_EQ(reader->next(got), Next::nothing);
  struct stat status {};
  for (const std::string& file : {path_, read_path(path_)}) {
    ASSERT_EQ(::stat(file.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
  }
}

TEST_F(RingTest, AnOnlookerSeesButDoesNotTake) {
  Ring ring = make();
  std::span<const std::byte> got;
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(ring.push(record(1000, i)));
  for (int round = 0; round < 2; ++round) {
    auto onlooker = RingReader::look(path_);
    ASSERT_TRUE(onlooker) << onlooker.error().message;
    for (uint32_t i = 0; i < 3; ++i) {
      ASSERT_EQ(onlooker->next(got), Next::record);
      ASSERT_EQ(Bytes(got.begin(), got.end()), record(1000, i));
    }
    EXPECT_EQ(onlooker->next(got), Next::nothing);
  }
  auto early = RingReader::look(path_);
  ring.expect(record(1000, 0));
  ring.expect(record(1000, 1));
  ASSERT_TRUE(ring.push(record(1000, 3)));  // wraps, over the first one
  ASSERT_TRUE(ring.push(record(900, 4)));
  for (uint32_t i = 2; i < 5; ++i) {
    ASSERT_EQ(early->next(got), Next::record) << i << early->damage();
    EXPECT_EQ(Bytes(got.begin(), got.end()), record(i == 4 ? 900 : 1000, i));
  }
}

TEST_F(RingTest, RefusesWhatIsNotARing) {
  const auto code = [&] {
    const auto reader = RingReader::open(path_), onlooker = RingReader::look(path_);
    const auto writer = RingWriter::open(path_);
    EXPECT_FALSE(reader);
    EXPECT_FALSE(onlooker);
    EXPECT_FALSE(writer);
    EXPECT_EQ(reader.error().code, onlooker.error().code);
    return reader.error().code;
  };
  { Ring ring = make(); }
  ASSERT_EQ(::truncate(path_.c_str(), 5000), 0);
  EXPECT_EQ(code(), Errc::invalid);
  { Ring ring = make(); }
  ASSERT_EQ(::truncate(path_.c_str(), 100), 0);
  EXPECT_EQ(code(), Errc::invalid);
  { Ring ring = make(); }
  poke(0, 0, 8);
  EXPECT_EQ(code(), Errc::invalid);
  { Ring ring = make(); }
  poke(8, 99, 4);
  EXPECT_EQ(code(), Errc::unsupported);
  { Ring ring = make(); }
  poke(16, 1, 8);  // another ring's
  EXPECT_EQ(code(), Errc::invalid);
  { Ring ring = make(); }
  ASSERT_EQ(::truncate(read_path(path_).c_str(), 80), 0);
  EXPECT_EQ(RingReader::open(path_).error().code, Errc::invalid);
  ASSERT_EQ(::unlink(read_path(path_).c_str()), 0);
  EXPECT_EQ(code(), Errc::invalid);
  EXPECT_EQ(RingReader::open(path_ + "x").error().code, Errc::not_found);
  EXPECT_EQ(RingReader::look(path_ + "x").error().code, Errc::not_found);
  EXPECT_EQ(RingReader::create(path_, 5000).error().code, Errc::invalid);
}

TEST_F(RingTest, OneReader) {
  {
    Ring ring = make();
    EXPECT_EQ(RingReader::open(path_).error().code, Errc::limit);
    EXPECT_TRUE(RingReader::look(path_));
  }
  const auto next = RingReader::open(path_);
  EXPECT_TRUE(next);
  EXPECT_EQ(RingReader::open(path_).error().code, Errc::limit);
}

TEST_F(RingTest, KilledWriterLeavesWholeRecordsOnly) {
  for (int round = 0; round < 20; ++round) {
    Ring ring = make(65536);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (uint32_t i = 0;; ++i) {
        while (!ring.push(record(50 + i % 900, i))) ring.writer->wait_for_room(1000, 10);
      }
    }
    uint32_t next = 0;
    const auto take_all = [&] {
      Next got;
      while ((got = ring.pop()) == Next::record) {
        ASSERT_EQ(ring.out, record(50 + next % 900, next));
        ++next;
      }
      ASSERT_EQ(got, Next::nothing) << ring.reader->damage();
    };
    while (next < 200 + 37 * static_cast<uint32_t>(round)) {
      ring.reader->wait_for_record(100);
      take_all();
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    take_all();
    auto another = RingWriter::open(path_);
    ASSERT_TRUE(another);
    ASSERT_TRUE(another->push(record(50 + next % 900, next)));  // the next writer goes on
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
        ring.writer->wait_for_room(700, 60'000);
      }
    }
  });
  for (uint32_t i = 0; i < kRecords;) {
    const Next got = ring.pop();
    ASSERT_NE(got, Next::damaged) << ring.reader->damage();
    if (got == Next::record) {
      ASSERT_EQ(ring.out, record(i % 700, i));
      ++i;
    } else {
      ring.reader->wait_for_record(60'000);  // a lost wake-up would show as the test's time-out
    }
  }
  producer.join();
}

TEST_F(RingTest, WaitsAreBounded) {
  Ring ring = make();
  ring.reader->wait_for_record(1);
  EXPECT_EQ(ring.pop(), Next::nothing);
}

// A guest that has taken over QEMU must not be able to cut the file off, to let it grow, or to write the reader's.
TEST_F(RingTest, TheWriterKeepsNoDescriptor) {
  const auto open_files = [] { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}); };
  ASSERT_TRUE(RingReader::create(path_, 4096));
  const auto before = open_files();
  auto files = RingWriter::files(path_);
  ASSERT_TRUE(files);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, files->read.get(), 0), MAP_FAILED);
  EXPECT_NE(::ftruncate(files->read.get(), 0), 0);
  auto writer = RingWriter::attach(std::move(*files));
  ASSERT_TRUE(writer);
  EXPECT_EQ(open_files(), before);
  EXPECT_TRUE(writer->push(record(10, 1)));
}

}  // namespace
}  // namespace oboro::stream
