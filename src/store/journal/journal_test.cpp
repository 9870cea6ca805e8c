#include <filesystem>
#include <map>
#include <optional>

#include "store/journal/appender.h"
#include "store/journal/chain.h"
#include "store/journal/reader.h"
#include "store/journal/segment_file.h"
#include "store/journal/verify.h"
#include "tests/support/store/testing.h"

namespace oboro::store {
namespace {

using event::Event;
using event::Kind;
using testing::TempDirectory;

struct Journal {
  TempDirectory directory;
  testing::Events events;
  std::optional<Appender> appender;

  Journal() { reopen(); }
  const std::string& path() const { return directory.path(); }
  void reopen() {
    appender.reset();
    auto opened = Appender::open(path());
    ASSERT_TRUE(opened) << opened.error().message;
    appender = std::move(*opened);
  }
  void add(int count) {
    for (int i = 0; i < count; ++i)
      appender->append(events.make(Kind::classified, testing::file(1, "/srv/a")), {}, "vm");
    ASSERT_TRUE(appender->flush());
  }
  void cut() {
    const auto done = appender->cut("vm", "1f2e3d4c");
    ASSERT_TRUE(done) << done.error().message;
  }
  // Compresses the older segments, as the archivist does.
  void compress() {
    const auto older = older_segments(path());
    ASSERT_TRUE(older);
    for (const Segment& segment : *older) {
      if (segment.path.ends_with(".zst")) continue;
      const auto done = compress_segment(segment.path, compressed_path(segment.path));
      ASSERT_TRUE(done) << done.error().message;
      std::filesystem::remove(segment.path);
    }
  }
  JournalReader reader(uint64_t offset = 0) {
    auto opened = JournalReader::open(path(), offset);
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }
  Verified verified() {
    auto done = verify(path());
    EXPECT_TRUE(done) << done.error().message;
    return *done;
  }
};

// The numbers of all events but those that begin a segment, and where each line begins.
std::vector<uint64_t> numbers(JournalReader& reader, std::map<uint64_t, uint64_t>* places = nullptr) {
  std::vector<uint64_t> out;
  Event event;
  LabelNames labels;
  for (;;) {
    const auto more = reader.next(event, labels);
    EXPECT_TRUE(more) << more.error().message;
    if (!more || !*more) return out;
    if (event.kind == Kind::segment) continue;
    out.push_back(event.seq);
    if (places != nullptr) (*places)[event.seq] = reader.line_begin();
  }
}

std::vector<uint64_t> range(uint64_t from, uint64_t to) {
  std::vector<uint64_t> out;
  for (uint64_t i = from; i <= to; ++i) out.push_back(i);
  return out;
}

// The line (without its end) of a plain segment.
std::string line_of(const std::string& text, size_t number) {
  size_t begin = 0;
  for (size_t i = 0; i < number; ++i) begin = text.find('\n', begin) + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

TEST(Journal, IsOneRunOfEventsOverAllItsParts) {
  Journal journal;
  std::map<uint64_t, uint64_t> places;
  for (int segment = 0; segment < 4; ++segment) {
    if (segment > 0) journal.cut();
    journal.add(10);
  }
  auto reader = journal.reader();
  EXPECT_EQ(numbers(reader, &places), range(1, 40));
  EXPECT_EQ(reader.damage().count, 0u);
  EXPECT_EQ(journal.appender->size(), *reader.bytes().end());
  journal.compress();
  auto compressed = journal.reader();
  EXPECT_EQ(numbers(compressed), range(1, 40));
  EXPECT_EQ(compressed.damage().count, 0u);
  LabelNames labels;
  for (const auto& [seq, place] : places) {
    auto from = journal.reader(place);
    EXPECT_EQ(numbers(from), range(seq, 40));
    const auto event = compressed.read_at(place, labels);
    ASSERT_TRUE(event) << event.error().message;
    EXPECT_EQ(event->seq, seq);
  }
}

TEST(Journal, AReaderFollowsOverCutsCompressionAndRemoval) {
  Journal journal;
  auto reader = journal.reader();
  uint64_t expected = 0;
  const auto read_three = [&] {
    EXPECT_EQ(numbers(reader), range(expected + 1, expected + 3));
    expected += 3;
  };
  for (int round = 0; round < 5; ++round) {
    const bool before_the_cut = round % 2 == 0;
    journal.add(3);
    if (before_the_cut) read_three();
    journal.cut();
    if (round == 2) journal.compress();
    if (!before_the_cut) read_three();
  }
  EXPECT_EQ(reader.damage().count, 0u);
  journal.add(2);
  journal.cut();
  journal.add(1);
  // The reader is too slow: the segment that it reads next is gone.
  std::filesystem::remove_all(segments_path(journal.path()));
  EXPECT_EQ(numbers(reader), range(18, 18));
  EXPECT_EQ(reader.damage().count, 1u);
}

TEST(Journal, GoesOnAfterAnEndAtAnyMomentOfACut) {
  Journal journal;
  journal.add(3);
  const std::string older = segment_path(journal.path(), 0);
  // The older name is there, and the new segment is not.
  std::filesystem::create_directory(segments_path(journal.path()));
  std::filesystem::create_hard_link(journal_path(journal.path()), older);
  auto between = journal.reader();
  EXPECT_EQ(numbers(between), range(1, 3));
  journal.reopen();
  EXPECT_EQ(journal.appender->last_seq(), 3u);
  journal.add(2);
  journal.cut();
  // Both forms of a segment are there.
  ASSERT_TRUE(compress_segment(older, compressed_path(older)));
  journal.reopen();
  EXPECT_EQ(journal.appender->last_seq(), 5u);  // of the line that begins the segment
  journal.add(1);
  auto reader = journal.reader();
  EXPECT_EQ(numbers(reader), range(1, 6));
  EXPECT_EQ(reader.damage().count, 0u);
  EXPECT_FALSE(journal.verified().problem);
}

TEST(Journal, IsNotBegunAnewBesideOlderSegments) {
  Journal journal;
  journal.add(3);
  journal.cut();
  journal.appender.reset();
  std::filesystem::remove(journal_path(journal.path()));
  const auto opened = Appender::open(journal.path());
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("put it back"), std::string::npos) << opened.error().message;
}

TEST(Journal, WhatIsMissingOrDamagedIsNamedAndTheRestIsRead) {
  Journal journal;
  for (int segment = 0; segment < 3; ++segment) {
    journal.add(4);
    journal.cut();
  }
  journal.add(1);
  journal.compress();
  const auto older = *older_segments(journal.path());
  ASSERT_EQ(older.size(), 3u);
  const std::string middle = older[1].path.substr(journal.path().size() + 1), good = journal.directory.read(middle);
  std::vector<uint64_t> left = range(1, 4);
  for (const uint64_t seq : range(9, 13)) left.push_back(seq);
  for (size_t at = 0; at < good.size(); at += 7) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    journal.directory.write(middle, bad);
    auto reader = journal.reader();
    const auto read = numbers(reader);
    EXPECT_TRUE(read == range(1, 13) || (read == left && reader.damage().count == 1)) << at;
  }
  for (size_t size = 0; size < good.size(); size += 11) {
    journal.directory.write(middle, good.substr(0, size));
    auto reader = journal.reader();
    EXPECT_EQ(numbers(reader), left) << size;
    ASSERT_EQ(reader.damage().count, 1u);
    EXPECT_EQ(reader.damage().first[0].offset, older[1].begin);
  }
  std::filesystem::remove(older[1].path);
  auto reader = journal.reader();
  EXPECT_EQ(numbers(reader), left);
  ASSERT_EQ(reader.damage().count, 1u);
  EXPECT_NE(reader.damage().first[0].reason.find("are missing"), std::string::npos);
  EXPECT_TRUE(journal.verified().problem);
}

TEST(Verify, AnUntouchedJournalIsWhole) {
  Journal journal;
  EXPECT_EQ(journal.verified().lines, 0u);
  journal.add(5);
  journal.cut();
  journal.add(5);
  journal.reopen();
  journal.add(1);
  journal.compress();
  const Verified verified = journal.verified();
  EXPECT_FALSE(verified.problem) << verified.problem->what;
  EXPECT_EQ(verified.lines, 12u);  // one begins the second segment
  EXPECT_EQ(verified.without_hash, 0u);
  EXPECT_EQ(verified.head.hash, journal.appender->head());
  EXPECT_EQ(verified.head.seq, 11u);
}

TEST(Verify, TheOldestPartsMayBeMissingAndTheFirstLinesOlderThanTheChain) {
  Journal journal;
  journal.add(2);
  // As versions before the chain wrote it.
  std::string text = journal.directory.read("events.jsonl"), old;
  for (size_t i = 0; i < 2; ++i) old += std::string(split_hash(line_of(text, i))->text) + "}\n";
  journal.directory.write("events.jsonl", old);
  journal.reopen();
  EXPECT_EQ(journal.appender->last_seq(), 2u);
  journal.add(2);
  EXPECT_FALSE(journal.verified().problem);
  EXPECT_EQ(journal.verified().without_hash, 2u);
  journal.cut();
  journal.add(2);
  std::filesystem::remove_all(segments_path(journal.path()));
  const Verified verified = journal.verified();
  EXPECT_FALSE(verified.problem) << verified.problem->what;
  EXPECT_EQ(verified.lines, 3u);
  EXPECT_GT(verified.begin, 0u);
}

TEST(Verify, NamesTheFirstLineThatIsNotWhatWasWritten) {
  Journal journal;
  journal.add(6);
  const std::string good = journal.directory.read("events.jsonl");
  const auto problem = [&](const std::string& text) {
    journal.directory.write("events.jsonl", text);
    const Verified verified = journal.verified();
    EXPECT_TRUE(verified.problem) << text;
    return verified.problem.value_or(Verified::Problem{});
  };
  std::string lines[6];
  for (size_t i = 0; i < 6; ++i) lines[i] = line_of(good, i) + "\n";
  const auto text = [&](std::initializer_list<std::string> list) {
    std::string out;
    for (const std::string& line : list) out += line;
    return out;
  };

  std::string changed = lines[2];
  changed.replace(changed.find("/srv/a"), 6, "/srv/b");
  auto found = problem(text({lines[0], lines[1], changed, lines[3], lines[4], lines[5]}));
  EXPECT_EQ(found.number, 3u);
  EXPECT_EQ(found.offset, lines[0].size() + lines[1].size());
  EXPECT_NE(found.what.find("changed"), std::string::npos) << found.what;

  found = problem(text({lines[0], lines[1], lines[3], lines[4], lines[5]}));
  EXPECT_EQ(found.number, 3u);
  EXPECT_NE(found.what.find("removed before it"), std::string::npos) << found.what;

  found = problem(text({lines[0], lines[1], lines[1], lines[2], lines[3]}));
  EXPECT_EQ(found.number, 3u);
  EXPECT_NE(found.what.find("was added"), std::string::npos) << found.what;

  found = problem(text({lines[0], std::string(split_hash(line_of(good, 1))->text) + "}\n", lines[2]}));
  EXPECT_EQ(found.number, 2u);
  EXPECT_NE(found.what.find("has no hash"), std::string::npos) << found.what;

  found = problem(text({lines[0], "nonsense\n", lines[1]}));
  EXPECT_EQ(found.number, 2u);

  found = problem(text({lines[1], lines[2]}));
  EXPECT_EQ(found.number, 1u);
  // Every single byte counts.
  for (size_t at = lines[0].size(); at < good.size() - 1; at += 13) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_EQ(problem(bad).number, 1 + static_cast<uint64_t>(std::ranges::count(good.substr(0, at), '\n'))) << at;
  }
}

// Who can write in the directory can make another chain, or cut off its end. What was sent elsewhere shows it.
TEST(Verify, HeadsThatWereKeptElsewhereShowARewrittenJournal) {
  Journal journal;
  journal.add(3);
  const Head early = journal.verified().head;
  journal.cut();
  journal.add(3);
  const Head late = journal.verified().head;
  const auto problem_with = [&](std::vector<Head> heads) {
    const auto done = verify(journal.path(), std::move(heads));
    EXPECT_TRUE(done) << done.error().message;
    return done->problem;
  };
  EXPECT_FALSE(problem_with({early, late}));
  const std::string whole = journal.directory.read("events.jsonl");
  journal.directory.write("events.jsonl", whole.substr(0, whole.rfind('\n', whole.size() - 2) + 1));
  EXPECT_FALSE(journal.verified().problem);
  auto problem = problem_with({early, late});
  ASSERT_TRUE(problem);
  EXPECT_NE(problem->what.find("the end is missing"), std::string::npos) << problem->what;
  journal.directory.write("events.jsonl", whole);

  EXPECT_TRUE(problem_with({Head{early.offset, early.seq, std::string(kHashDigits, 'a')}, late}));
  // A head of a segment that retention took cannot be checked, and is no problem; the next one is.
  std::filesystem::remove_all(segments_path(journal.path()));
  EXPECT_FALSE(problem_with({early, late}));
}

}  // namespace
}  // namespace oboro::store
