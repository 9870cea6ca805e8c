#include "stream/recorder.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/codec.h"
#include "store/journal/appender.h"
#include "store/journal/reader.h"
#include "store/json.h"
#include "stream/reader.h"
#include "stream/ring_writer.h"
#include "tests/support/base/testing.h"
#include "tests/support/store/testing.h"

namespace oboro::stream {
namespace {

using event::Event;
using event::Kind;
using store::testing::TempDirectory;

std::vector<uint64_t> seqs(const std::string& directory) {
  std::vector<uint64_t> out;
  auto reader = Reader::open(directory);
  EXPECT_TRUE(reader) << reader.error().message;
  Event event;
  while (*reader->next(event)) out.push_back(event.seq);
  return out;
}

store::Appender open(const TempDirectory& directory) {
  auto appender = store::Appender::open(directory.path());
  EXPECT_TRUE(appender) << appender.error().message;
  return std::move(*appender);
}

void push(RingWriter& ring, const Event& event) {
  std::vector<std::byte> bytes;
  encode(event, bytes);
  ASSERT_TRUE(ring.push(bytes));
}

// As a run leaves it that is killed.
Result<RingWriter> make_ring(const TempDirectory& directory) {
  EXPECT_TRUE(RingReader::create(ring_path(directory.path()), 1 << 20));
  return RingWriter::open(ring_path(directory.path()));
}

TEST(Journal, AppendsAndReadsBack) {
  const TempDirectory directory;
  store::testing::Events events;
  {
    store::Appender appender = open(directory);
    EXPECT_EQ(appender.last_seq(), 0u);
    for (int i = 0; i < 1000; ++i) appender.append(events.make(Kind::warning), {}, "vm");
    ASSERT_TRUE(appender.flush());
  }
  EXPECT_EQ(open(directory).last_seq(), 1000u);
  EXPECT_EQ(seqs(directory.path()).size(), 1000u);
  struct stat status {};
  ASSERT_EQ(::stat(store::journal_path(directory.path()).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(Journal, TornEndIsCutAndKept) {
  const TempDirectory directory;
  store::testing::Events events;
  {
    store::Appender appender = open(directory);
    appender.append(events.make(Kind::warning), {}, "vm");
    ASSERT_TRUE(appender.flush());
  }
  const std::string whole = directory.read("events.jsonl");
  directory.write("events.jsonl", whole + whole.substr(0, 20));
  EXPECT_EQ(seqs(directory.path()).size(), 1u);  // a reader waits for the line's end
  store::Appender appender = open(directory);
  EXPECT_EQ(appender.torn_bytes(), 20u);
  EXPECT_EQ(appender.last_seq(), 1u);
  EXPECT_EQ(directory.read("events.torn"), whole.substr(0, 20) + "\n");
  EXPECT_EQ(directory.read("events.jsonl"), whole);
}

TEST(Journal, EveryTruncationLeavesWholeLines) {
  const TempDirectory directory;
  store::testing::Events events;
  {
    store::Appender appender = open(directory);
    for (int i = 0; i < 3; ++i) appender.append(events.make(Kind::warning), {}, "vm");
    ASSERT_TRUE(appender.flush());
  }
  const std::string whole = directory.read("events.jsonl");
  const size_t line = whole.size() / 3;
  for (size_t size = 0; size <= whole.size(); ++size) {
    directory.write("events.jsonl", whole.substr(0, size));
    EXPECT_EQ(open(directory).last_seq(), size / line);
    EXPECT_EQ(seqs(directory.path()).size(), size / line);
  }
}

TEST(Journal, DamagedLinesAreSkippedAndCounted) {
  const TempDirectory directory;
  store::testing::Events events;
  std::string text;
  for (int i = 0; i < 3; ++i) {
    store::write_event(events.make(Kind::warning), {}, "vm", text);
    text += "\nnot json\n" + std::string(store::kMaxLine + 10, 'x') + "\n";
  }
  directory.write("events.jsonl", text + std::string(5000, '\0') + "\n");
  auto reader = Reader::open(directory.path());
  Event event;
  uint64_t count = 0;
  while (*reader->next(event)) EXPECT_EQ(event.seq, ++count);
  EXPECT_EQ(count, 3u);
  EXPECT_EQ(reader->damage().count, 7u);
  EXPECT_EQ(reader->damage().first.front().number, 2u);
  EXPECT_NE(reader->damage().first[1].reason.find("longer than"), std::string::npos);
  EXPECT_EQ(reader->damage().first.back().number, 10u);
}

TEST(Journal, FullDiskLosesNothing) {
  const TempDirectory directory;
  const pid_t child = ::fork();  // for the limit is the process's own
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    store::Appender appender = open(directory);
    store::testing::Events events;
    auto reading = RingReader::create(ring_path(directory.path()), 1 << 20);
    auto ring = RingWriter::open(ring_path(directory.path()));
    Recorder recorder(appender, {}, "vm");
    const rlimit small{3000, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; i < 100; ++i) push(*ring, events.make(Kind::warning));
    for (int i = 0; i < 3; ++i)
      if (recorder.pump(*reading)) ::_exit(1);
    if (appender.refused() == 0) ::_exit(2);
    const rlimit large{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &large);
    for (int i = 0; i < 100; ++i) push(*ring, events.make(Kind::warning));
    auto pumped = recorder.pump(*reading);
    ::_exit(!pumped ? 3 : pumped->damaged != 0 ? 4 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  std::vector<uint64_t> got = seqs(directory.path());
  EXPECT_EQ(std::erase(got, 0), 1);  // the note about it
  ASSERT_EQ(got.size(), 200u);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], i + 1);
}

TEST(Journal, SomeOfTheDiskStaysFree) {
  const oboro::testing::SmallDisk disk("size=8m,mode=755");  // of which 80 KiB
  if (!disk.mounted()) GTEST_SKIP() << "this host: only who may mount has the small file system that it needs";
  const auto free = [&] { return std::filesystem::space(disk.path()).available; };
  auto appender = store::Appender::open(disk.path());
  ASSERT_TRUE(appender) << appender.error().message;
  store::testing::Events events;
  uint64_t lines = 0;
  Result<void> flushed;
  while (flushed) {
    for (int i = 0; i < 100; ++i, ++lines) appender->append(events.make(Kind::warning), {}, "vm");
    flushed = appender->flush();
    ASSERT_LT(lines, 100'000u) << "it is never full";
  }
  EXPECT_EQ(flushed.error().code, Errc::io);
  EXPECT_EQ(appender->refused(), 1u);
  EXPECT_GT(appender->pending(), 0u);
  EXPECT_GE(free(), 80u << 10);
  EXPECT_LT(free(), 200u << 10) << "it stopped early";
  EXPECT_FALSE(appender->flush());
  // As soon as there is room it goes on, and nothing is lost.
  ASSERT_EQ(::mount("tmpfs", disk.path().c_str(), "tmpfs", MS_REMOUNT, "size=16m"), 0);
  EXPECT_TRUE(appender->flush());
  EXPECT_EQ(appender->pending(), 0u);
  EXPECT_EQ(seqs(disk.path()).size(), lines);
}

TEST(Recorder, KilledRunIsDrainedOnce) {
  const TempDirectory directory;
  store::testing::Events events;
  {
    auto ring = make_ring(directory);
    for (int i = 0; i < 5; ++i) push(*ring, events.make(Kind::warning));
    store::Appender appender = open(directory);
    // As if it was killed between the journal and the ring: two are in both.
    store::testing::Events again;
    for (int i = 0; i < 2; ++i) appender.append(again.make(Kind::warning), {}, "vm");
    ASSERT_TRUE(appender.flush());
  }
  EXPECT_EQ(seqs(directory.path()), (std::vector<uint64_t>{1, 2, 3, 4, 5}));  // nothing is invisible
  store::Appender appender = open(directory);
  auto pumped = drain_ring(directory.path(), appender, {}, "vm");
  ASSERT_TRUE(pumped) << pumped.error().message;
  EXPECT_EQ(pumped->duplicates, 2u);
  EXPECT_EQ(pumped->written, 3u);
  EXPECT_EQ(seqs(directory.path()), (std::vector<uint64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(drain_ring(directory.path(), appender, {}, "vm")->written, 0u);
}

TEST(Recorder, RecordsThatAreNoEventsAreReported) {
  const TempDirectory directory;
  auto ring = make_ring(directory);
  store::testing::Events events;
  push(*ring, events.make(Kind::warning));
  ASSERT_TRUE(ring->push(std::vector<std::byte>(10, std::byte{0xaa})));
  events.skip(1);
  push(*ring, events.make(Kind::warning));
  auto reader = Reader::open(directory.path());
  EXPECT_FALSE(reader);  // no journal yet
  store::Appender appender = open(directory);
  auto pumped = drain_ring(directory.path(), appender, {}, "vm");
  ASSERT_TRUE(pumped);
  EXPECT_EQ(pumped->damaged, 1u);
  EXPECT_EQ(seqs(directory.path()), (std::vector<uint64_t>{1, 0, 3}));
}

TEST(Recorder, DamagedRingIsSetAside) {
  const TempDirectory directory;
  directory.write("ring", "nonsense");
  store::Appender appender = open(directory);
  auto pumped = drain_ring(directory.path(), appender, {}, "vm");
  ASSERT_TRUE(pumped) << pumped.error().message;
  EXPECT_EQ(pumped->damaged, 1u);
  EXPECT_EQ(directory.read("ring.damaged"), "nonsense");
  EXPECT_NE(directory.read("events.jsonl").find("\"lost\""), std::string::npos);
}

}  // namespace
}  // namespace oboro::stream
