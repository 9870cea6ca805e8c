#include "stream/reader.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/codec.h"
#include "store/json.h"
#include "store/state_dir.h"
#include "stream/recorder.h"
#include "stream/ring_writer.h"
#include "tests/support/store/testing.h"

namespace oboro::stream {
namespace {

using event::Event;
using event::Kind;
using store::testing::TempDirectory;

constexpr int kLongMs = 20'000;  // nothing takes that long, unless it is not told of

void push(RingWriter& ring, const Event& event) {
  std::vector<std::byte> bytes;
  encode(event, bytes);
  ASSERT_TRUE(ring.push(bytes));
}

Reader open(const TempDirectory& directory, const Cursor& from = {}) {
  auto reader = Reader::open(directory.path(), from);
  EXPECT_TRUE(reader) << reader.error().message;
  return std::move(*reader);
}

std::vector<uint64_t> rest(Reader& reader) {
  std::vector<uint64_t> out;
  Event event;
  while (*reader.next(event)) out.push_back(event.seq);
  return out;
}

std::vector<uint64_t> range(uint64_t from, uint64_t to) {
  std::vector<uint64_t> out;
  for (uint64_t i = from; i <= to; ++i) out.push_back(i);
  return out;
}

std::string error_of(const TempDirectory& directory, const Cursor& from) {
  auto reader = Reader::open(directory.path(), from);
  return reader ? "" : reader.error().message;
}

void write_journal(const TempDirectory& directory, uint64_t events, const std::string& vm = "vm") {
  store::testing::Events made;
  auto appender = store::Appender::open(directory.path());
  ASSERT_TRUE(appender);
  for (uint64_t i = 0; i < events; ++i) appender->append(made.make(Kind::warning), {}, vm);
  ASSERT_TRUE(appender->flush());
}

// The file that is watched is an older segment then.
TEST(Reader, IsWokenByWhatComesAfterACut) {
  const TempDirectory directory;
  auto appender = store::Appender::open(directory.path());
  ASSERT_TRUE(appender);
  store::testing::Events events;
  const auto append = [&] {
    appender->append(events.make(Kind::warning), {}, "vm");
    ASSERT_TRUE(appender->flush());
  };
  append();
  Reader reader = open(directory);
  ASSERT_TRUE(reader.wait(0));
  EXPECT_EQ(rest(reader), range(1, 1));
  for (uint64_t round = 0; round < 3; ++round) {
    ASSERT_TRUE(appender->cut("vm", "1f2e3d4c"));
    ASSERT_TRUE(reader.wait(kLongMs));
    EXPECT_EQ(rest(reader), range(0, 0)) << "the segment's beginning";
    append();
    pollfd waiting{*reader.poll_fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&waiting, 1, kLongMs), 1);
    EXPECT_EQ(rest(reader), range(round + 2, round + 2));
  }
}

TEST(Cursor, OneTextForEach) {
  const Cursor cursor{0x1f2e3d4c, 20480, 57, 0xa1b2c3d};
  EXPECT_EQ(cursor.text(), "1f2e3d4c:20480:57:0a1b2c3d");
  for (const Cursor& c : {cursor, Cursor{}, Cursor{0xffffffff, INT64_MAX, UINT64_MAX, 0xffffffff}}) {
    auto parsed = Cursor::parse(c.text());
    ASSERT_TRUE(parsed) << c.text();
    EXPECT_EQ(*parsed, c);
    EXPECT_TRUE(Cursor::parse(c.text() + "\n"));
  }
  for (const char* bad : {"", "\n", "57", "1f2e3d4c:20480:57", "1f2e3d4c:20480:57:0a1b2c3d:",
                          "1f2e3d4c:20480:57:0a1b2c3d\n\n", "1F2e3d4c:20480:57:0a1b2c3d", "1f2e3d4c:020480:57:0a1b2c3d",
                          "1f2e3d4c:20480:+57:0a1b2c3d", " 1f2e3d4c:20480:57:0a1b2c3d", "1f2e3d4c:-1:57:0a1b2c3d",
                          "1f2e3d4c:0:57:0a1b2c3d", "1f2e3d4c:18446744073709551615:57:0a1b2c3d",
                          "1f2e3d4c:99999999999999999999:57:0a1b2c3d", "::::", "1f2e3d4:1:1:0a1b2c3d"})
    EXPECT_FALSE(Cursor::parse(bad)) << bad;
  EXPECT_EQ(Cursor::parse("x").error().message, "\"x\" is not a cursor, such as 1f2e3d4c:20480:57:0a1b2c3d");
}

TEST(Reader, FollowsJournalAndRingWithoutRepeating) {
  const TempDirectory directory;
  store::testing::Events events;
  auto appender = store::Appender::open(directory.path());
  auto reading = RingReader::create(ring_path(directory.path()), 1 << 20);
  ASSERT_TRUE(reading);
  auto ring = RingWriter::open(ring_path(directory.path()));
  Reader reader = open(directory);
  Recorder recorder(*appender, {}, "vm");
  Event event;
  uint64_t expected = 0;
  for (int round = 0; round < 50; ++round) {
    push(*ring, events.make(Kind::warning));
    if (round % 3 == 0) {
      while (*reader.next(event)) EXPECT_EQ(event.seq, ++expected);  // seen in the ring...
    }
    ASSERT_TRUE(recorder.pump(*reading));
    ASSERT_TRUE(reader.wait(kLongMs));
    while (*reader.next(event)) EXPECT_EQ(event.seq, ++expected);  // ...and not again in the journal
  }
  EXPECT_EQ(expected, 50u);
}

TEST(Reader, GoesOnBehindEachCursor) {
  const TempDirectory directory;
  write_journal(directory, 30);
  store::testing::Events events;
  events.skip(30);
  auto appender = store::Appender::open(directory.path());
  for (int i = 0; i < 20; ++i) {  // notes have no number, and there is damage between them
    Event note = events.make(Kind::warning);
    if (i % 3 == 0) note.seq = 0;
    appender->append(note, {}, "vm");
    ASSERT_TRUE(appender->flush());
    directory.write("events.jsonl", directory.read("events.jsonl") + "damaged\n\n");
  }
  Reader all = open(directory);
  Event event;
  std::vector<std::pair<Cursor, uint64_t>> stored{{all.cursor(), 0}};
  while (*all.next(event)) stored.emplace_back(all.cursor(), event.time_ns);
  ASSERT_EQ(stored.size(), 51u);
  for (size_t i = 0; i < stored.size(); ++i) {
    Reader again = open(directory, *Cursor::parse(stored[i].first.text()));
    EXPECT_EQ(again.cursor(), stored[i].first);
    for (size_t k = i + 1; k < stored.size(); ++k) {
      ASSERT_TRUE(*again.next(event));
      EXPECT_EQ(event.time_ns, stored[k].second);
      EXPECT_EQ(again.cursor(), stored[k].first);
    }
    EXPECT_FALSE(*again.next(event));
    if (i > 30 && i < 50) {
      EXPECT_EQ(again.damage().first.front().number, 0u) << "it cannot know";
    }
  }
}

TEST(Reader, DoesNotReadWhatIsBeforeTheCursor) {
  const TempDirectory directory;
  write_journal(directory, 1000);
  Reader all = open(directory);
  Event event;
  for (int i = 0; i < 900; ++i) ASSERT_TRUE(*all.next(event));
  // The bytes before the cursor's line are no journal any more, except for the first line, which identifies the
  // journal.
  std::string text = directory.read("events.jsonl");
  const size_t first = text.find('\n') + 1;
  const size_t before = text.rfind('\n', all.cursor().offset - 2);
  std::fill(text.begin() + static_cast<long>(first), text.begin() + static_cast<long>(before), 'x');
  directory.write("events.jsonl", text);
  Reader again = open(directory, all.cursor());
  EXPECT_EQ(rest(again), range(901, 1000));
  EXPECT_EQ(again.damage().count, 0u);
}

TEST(Reader, CursorOfAnotherJournalIsRefused) {
  const TempDirectory one, other;
  write_journal(one, 10, "one");
  write_journal(other, 10, "two");
  Reader reader = open(one);
  EXPECT_EQ(rest(reader).size(), 10u);
  EXPECT_NE(error_of(other, reader.cursor()).find("is another journal"), std::string::npos)
      << error_of(other, reader.cursor());
  const TempDirectory empty;
  write_journal(empty, 0);
  EXPECT_NE(error_of(empty, reader.cursor()).find("is another journal"), std::string::npos);
}

TEST(Reader, CursorBeyondTheEndIsRefused) {
  const TempDirectory directory;
  write_journal(directory, 10);
  Reader reader = open(directory);
  EXPECT_EQ(rest(reader).size(), 10u);
  // The host lost its power: the end of the journal was never written, and its numbers are given again.
  std::string text = directory.read("events.jsonl");
  text.resize(text.rfind('\n', text.size() - 2) + 1);
  directory.write("events.jsonl", text);
  EXPECT_NE(error_of(directory, reader.cursor()).find("ends at byte " + std::to_string(text.size())), std::string::npos)
      << error_of(directory, reader.cursor());
  store::testing::Events events;
  events.skip(9);
  for (int i = 0; i < 5; ++i) {
    Event another = events.make(Kind::reset);
    store::write_event(another, {}, "vm", text);
    text += '\n';
  }
  directory.write("events.jsonl", text);
  EXPECT_NE(error_of(directory, reader.cursor()).find("was changed"), std::string::npos)
      << error_of(directory, reader.cursor());
}

TEST(Reader, FindsItsLineWhereDamageWasRemoved) {
  const TempDirectory directory;
  write_journal(directory, 20);
  std::string text = directory.read("events.jsonl");
  text.insert(text.find('\n') + 1, "damaged\n");
  directory.write("events.jsonl", text);
  Reader reader = open(directory);
  Event event;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(*reader.next(event));
  text.erase(text.find("damaged\n"), 8);
  directory.write("events.jsonl", text);
  Reader again = open(directory, reader.cursor());
  EXPECT_EQ(rest(again), range(11, 20));
  // A cursor whose number is not its line's is none that was given out.
  Cursor forged = again.cursor();
  forged.seq += 1;
  EXPECT_NE(error_of(directory, forged), "");
}

TEST(Reader, TornEndThatIsCutIsNotPartOfTheNextLine) {
  const TempDirectory directory;
  write_journal(directory, 3);
  Reader reader = open(directory);
  EXPECT_EQ(rest(reader), range(1, 3));
  const std::string whole = directory.read("events.jsonl");
  for (const size_t torn : {size_t{1}, size_t{40}, whole.size() / 3 - 1, size_t{100'000}, 3 * store::kMaxLine}) {
    directory.write("events.jsonl", whole + std::string(torn, 'x'));
    EXPECT_EQ(rest(reader), range(1, 0));
    directory.write("events.jsonl", whole);  // the next run's Appender
    EXPECT_EQ(rest(reader), range(1, 0));
  }
  store::testing::Events events;
  events.skip(3);
  auto appender = store::Appender::open(directory.path());
  appender->append(events.make(Kind::warning), {}, "vm");
  ASSERT_TRUE(appender->flush());
  EXPECT_EQ(rest(reader), range(4, 4));
  EXPECT_EQ(reader.damage().count, 0u);
}

TEST(Reader, RingIsLookedAtOnlyWhereNoRunIs) {
  const TempDirectory directory;
  write_journal(directory, 2);
  auto reading = RingReader::create(ring_path(directory.path()), 1 << 20);
  ASSERT_TRUE(reading);
  auto ring = RingWriter::open(ring_path(directory.path()));
  store::testing::Events events;
  events.skip(2);
  push(*ring, events.make(Kind::warning));
  Reader reader = open(directory);
  {
    auto lock = store::StateLock::take(directory.path());
    ASSERT_TRUE(lock);
    EXPECT_EQ(rest(reader), range(1, 2));
  }
  const Cursor before = reader.cursor();
  EXPECT_EQ(rest(reader), range(3, 3));
  EXPECT_FALSE(reader.place());
  EXPECT_EQ(reader.cursor(), before) << "it has no place in the journal yet";
  EXPECT_EQ(rest(reader), range(1, 0)) << "once";
  Reader again = open(directory, before);
  EXPECT_EQ(rest(again), range(3, 3));
  EXPECT_EQ(again.vm(), "vm");
}

// A run is killed while a reader sleeps. The reader gets the events that were only in the ring, in a handful of looks.
TEST(Reader, HearsOfTheEndOfAKilledRun) {
  const TempDirectory directory;
  write_journal(directory, 1);
  int ready[2], asleep[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(asleep, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto lock = store::StateLock::take(directory.path());
    auto appender = store::Appender::open(directory.path());
    auto reading = RingReader::create(ring_path(directory.path()), 1 << 16);
    ASSERT_TRUE(reading);
    auto ring = RingWriter::open(ring_path(directory.path()));
    store::testing::Events events;
    events.skip(1);
    push(*ring, events.make(Kind::warning));
    char byte = 0;
    if (::write(ready[1], "x", 1) != 1 || ::read(asleep[0], &byte, 1) != 1) ::_exit(1);
    ::usleep(50'000);
    ::raise(SIGKILL);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  Reader reader = open(directory);
  ASSERT_TRUE(reader.poll_fd());
  std::vector<uint64_t> got = rest(reader);
  EXPECT_EQ(got, range(1, 1));
  ASSERT_EQ(::write(asleep[1], "x", 1), 1);
  int waits = 0;
  for (; got.size() < 2 && waits < 50; ++waits) {
    pollfd waiting{*reader.poll_fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&waiting, 1, kLongMs), 1) << "it was told of nothing";
    for (const uint64_t seq : rest(reader)) got.push_back(seq);
  }
  EXPECT_EQ(got, range(1, 2));
  EXPECT_LE(waits, 25);
  ::waitpid(child, nullptr, 0);
  for (const int fd : {ready[0], ready[1], asleep[0], asleep[1]}) ::close(fd);
}

TEST(Reader, SleepsWhileNothingHappens) {
  const TempDirectory directory;
  write_journal(directory, 5);
  Reader reader = open(directory);
  ASSERT_TRUE(reader.poll_fd());
  EXPECT_EQ(rest(reader).size(), 5u);
  pollfd waiting{*reader.poll_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&waiting, 1, 0), 0);
  directory.write("status.json", "{}");  // what else is written there does not concern it
  directory.write("cursor", "");
  EXPECT_EQ(::poll(&waiting, 1, 0), 0);
  auto appender = store::Appender::open(directory.path());
  store::testing::Events events;
  events.skip(5);
  appender->append(events.make(Kind::warning), {}, "vm");
  ASSERT_TRUE(appender->flush());
  EXPECT_EQ(::poll(&waiting, 1, 0), 1);
  EXPECT_EQ(rest(reader), range(6, 6));
}

}  // namespace
}  // namespace oboro::stream
