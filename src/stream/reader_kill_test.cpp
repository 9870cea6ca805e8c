// A run and a subscriber are killed at any point, again and again. The subscriber misses no event.
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/codec.h"
#include "store/state_dir.h"
#include "stream/reader.h"
#include "stream/recorder.h"
#include "stream/ring_writer.h"
#include "tests/support/store/testing.h"

namespace oboro::stream {
namespace {

using event::Event;
using event::Kind;

constexpr int kLongMs = 20'000;  // nothing takes that long, unless it is not told of

// A run: it brings the ring over, as JournalWriter does, then produces and records events until it is killed. Every
// event has a name of its own, and so do notes.
[[noreturn]] void be_a_run(const std::string& directory, uint32_t seed) {
  std::minstd_rand random(seed);
  auto lock = store::StateLock::take(directory);
  if (!lock) ::_exit(2);
  auto appender = store::Appender::open(directory);
  if (!appender || !drain_ring(directory, *appender, {}, "vm")) ::_exit(3);
  auto reading = RingReader::create(ring_path(directory), 1 << 14);
  auto ring = RingWriter::open(ring_path(directory));
  if (!reading || !ring) ::_exit(4);
  Recorder recorder(*appender, {}, "vm");
  std::vector<std::byte> bytes;
  for (uint64_t seq = appender->last_seq(), notes = 0;;) {
    for (uint64_t burst = random() % 20; burst > 0; --burst) {
      Event event;
      event.kind = Kind::exited;
      event.time_ns = now_ns();
      event.seq = seq + 1;
      event.set(event::Warning{std::string(random() % 200, 'd')});
      bytes.clear();
      encode(event, bytes);
      if (!ring->push(bytes)) break;
      ++seq;
    }
    if (random() % 3 == 0) {
      Event note;
      note.set(event::Warning{"note " + std::to_string(seed) + " " + std::to_string(notes++)});
      if (!recorder.record(note)) ::_exit(5);
    }
    if (random() % 3 != 0 && !recorder.pump(*reading)) ::_exit(6);
    ::usleep(static_cast<useconds_t>(random() % 1000));  // it need not be fast, only be killed anywhere
  }
}

TEST(Reader, MissesNothingWhoeverIsKilled) {
  const store::testing::TempDirectory directory;
  ASSERT_TRUE(store::Appender::open(directory.path()));
  std::minstd_rand random(12);
  std::map<std::string, int> given;  // by name: how often
  Cursor stored;
  std::map<std::string, uint64_t> since_stored;  // by name: where its line ends in the journal, if it has one
  auto reader = Reader::open(directory.path());
  std::set<std::string> by_this_reader;
  uint64_t twice = 0, resumed = 0;
  const auto take = [&](uint64_t at_most) {
    Event event;
    uint64_t count = 0;
    for (; count < at_most && *reader->next(event); ++count) {
      const std::string name = event.seq != 0 ? std::to_string(event.seq) : event.as<event::Warning>().text;
      EXPECT_TRUE(by_this_reader.insert(name).second) << "one reader gave it twice: " << name;
      if (given[name]++ > 0) {
        ++twice;
        EXPECT_TRUE(since_stored.contains(name)) << "given again, though it was done with: " << name;
      }
      since_stored[name] = reader->place() ? reader->cursor().offset : UINT64_MAX;
    }
    return count;
  };
  for (uint32_t iteration = 0; iteration < 200; ++iteration) {
    const pid_t child = ::fork();
    if (child == 0) be_a_run(directory.path(), iteration + 1);
    for (uint64_t wanted = random() % 60; wanted > 0;) {
      const uint64_t got = take(wanted);
      wanted -= got;
      if (got == 0) {
        ASSERT_TRUE(reader->wait(kLongMs));
      }
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the run failed: " << WEXITSTATUS(status);
    if (random() % 4 == 0)  // in the middle of a line
      std::ofstream(store::journal_path(directory.path()), std::ios::app) << "{\"time\":\"2026-11-22T21:4";
    if (random() % 2 == 0) take(random() % 40);
    if (random() % 4 == 0) take(UINT64_MAX);  // and the ring
    if (random() % 3 == 0) {                  // the subscriber stores how far it is
      stored = *Cursor::parse(reader->cursor().text());
      std::erase_if(since_stored, [&](const auto& done) {
        return done.second <= stored.offset || (done.first[0] != 'n' && std::stoull(done.first) <= stored.seq);
      });
    }
    if (random() % 3 == 0) {  // and is killed
      reader = Reader::open(directory.path(), stored);
      ASSERT_TRUE(reader) << reader.error().message;
      by_this_reader.clear();
      ++resumed;
    }
  }
  // One more run brings over the events that the last one left.
  auto appender = store::Appender::open(directory.path());
  ASSERT_TRUE(drain_ring(directory.path(), *appender, {}, "vm"));
  take(UINT64_MAX);
  // Compared with the journal itself.
  uint64_t lines = 0;
  auto journal = store::JournalReader::open(directory.path());
  store::LabelNames labels;
  Event event;
  for (; *journal->next(event, labels); ++lines)
    EXPECT_TRUE(given.contains(event.seq != 0 ? std::to_string(event.seq) : event.as<event::Warning>().text))
        << event.seq << event.as<event::Warning>().text;
  EXPECT_EQ(given.size(), lines);
  for (uint64_t seq = 1; seq <= appender->last_seq(); ++seq) ASSERT_TRUE(given.contains(std::to_string(seq))) << seq;
  EXPECT_EQ(journal->damage().count, 0u);
  EXPECT_GT(resumed, 20u);
  EXPECT_GT(twice, 0u) << "it tests nothing";
}

}  // namespace
}  // namespace oboro::stream
