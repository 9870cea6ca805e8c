// What a start knows of the journal, and how much of it it reads for that.
#include "supervisor/read_back.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <thread>

#include "event/codec.h"
#include "stream/reader.h"
#include "supervisor/checkpoint.h"
#include "supervisor/journal_writer.h"
#include "supervisor/reports_test.h"
#include "tests/support/store/testing.h"

namespace oboro::supervisor {
namespace {

using event::Event;
using event::Kind;
using store::testing::file;
using store::testing::process;

using Checkpoints = JournalWriter::Checkpoints;
constexpr Checkpoints kAtTheEnd{.every = uint64_t{1} << 60};

class Starts : public ::testing::Test {
 protected:
  std::unique_ptr<JournalWriter> open(const Checkpoints& checkpoints = kAtTheEnd) {
    auto opened = JournalWriter::open(state_, "guest", {{.pattern = "/srv/**", .labels = 0, .label = "plan"}},
                                      {.keeping = {}, .checkpoints = checkpoints});
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }

  // A run with so many events of the guest: `files` files get labels and stay, every other one comes and goes.
  void run(uint64_t events, uint64_t files, bool killed = false, const Checkpoints& checkpoints = kAtTheEnd) {
    auto journal = open(checkpoints);
    ASSERT_TRUE(journal);
    ASSERT_TRUE(journal->start("tcg", "11.1.3"));
    Reports reports(state_, journal->settings());
    uint64_t id = journal->settings().first_id;
    for (uint64_t i = 0; i < events; ++i)
      if (i < files)
        reports.push(Kind::classified, file(id, "/srv/" + std::to_string(id))), ++id;
      else if (i % 2 == 0)
        reports.push(Kind::diffusion, process(id, 800));
      else
        reports.push(Kind::exited, process(id++, 800));
    if (killed) {
      while (count_lines() < reports.last_seq()) std::this_thread::yield();
    } else {
      ASSERT_TRUE(journal->finish("the guest ended"));
    }
  }

  // The cursor behind the first event with each number or a higher one, and how many were read to come to it.
  using Found = std::pair<stream::Cursor, uint64_t>;
  static std::vector<Found> look_for(Result<stream::Reader> reader, const std::vector<uint64_t>& numbers) {
    EXPECT_TRUE(reader) << reader.error().message;
    std::vector<Found> found;
    uint64_t count = 0;
    for (Event event; reader && found.size() < numbers.size() && *reader->next(event);)
      for (++count; found.size() < numbers.size() && event.seq >= numbers[found.size()];)
        found.emplace_back(reader->cursor(), count);
    found.resize(numbers.size());
    return found;
  }
  // A place is a MiB behind the one before it, or a little more: two MiB of lines at most, of more than three.
  void expect_found_at_once(const std::vector<uint64_t>& numbers) const {
    const uint64_t most = count_lines() * (2 << 20) / read("events.jsonl").size();
    ASSERT_LT(most, count_lines() * 2 / 3);
    const auto all = look_for(stream::Reader::open(state_), numbers);
    for (size_t i = 0; i < numbers.size(); ++i) {
      const Found found = look_for(open_before(state_, numbers[i]), {numbers[i]}).front();
      EXPECT_EQ(found.first, all[i].first) << numbers[i];
      EXPECT_LT(found.second, most) << numbers[i];
    }
  }
  uint64_t count_lines() const {
    const std::string text = read("events.jsonl");
    return static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
  }
  std::string path(const std::string& name) const { return state_ + "/" + name; }
  std::string read(const std::string& name) const { return directory_.read("state/" + name); }
  void write(const std::string& name, const std::string& text) const { directory_.write("state/" + name, text); }

  // What a start would read, and know, in a copy of the directory: nothing is changed.
  struct Known {
    uint64_t lines = 0, first_id = 0;
    uint32_t boot = 0;
    std::vector<std::pair<uint64_t, uint64_t>> files;  // ID, labels
    std::string trouble;
    bool operator==(const Known& other) const {
      return first_id == other.first_id && boot == other.boot && files == other.files;
    }
  };
  Known start() {
    const std::string kept = state_;
    state_ = kept + "-copy";
    std::filesystem::remove_all(state_);
    std::filesystem::copy(kept, state_, std::filesystem::copy_options::recursive);
    Known known;
    if (const auto journal = open()) {
      const link::Settings& settings = journal->settings();
      known = {journal->lines_read(), settings.first_id, settings.boot, {}, journal->trouble().value_or("")};
      for (const link::KnownFile& one : settings.files) known.files.emplace_back(one.id, one.labels);
    }
    state_ = kept;
    return known;
  }
  Known start_without_checkpoint() {
    const std::string kept = read("checkpoint");
    std::filesystem::remove(path("checkpoint"));
    Known known = start();
    write("checkpoint", kept);
    return known;
  }

  const store::testing::TempDirectory directory_;
  std::string state_ = directory_.path() + "/state";
};

TEST_F(Starts, ReadAsManyLinesAfterManyEventsAsAfterFew) {
  run(10, 3);
  const Known few = start();
  EXPECT_EQ(few.lines, 0u);
  EXPECT_EQ(few.files.size(), 3u);
  run(2000, 3);
  const Known many = start();
  EXPECT_EQ(many.lines, few.lines);
  EXPECT_EQ(many.files.size(), 6u);
  EXPECT_EQ(many.trouble, "");
  const Known all = start_without_checkpoint();
  EXPECT_EQ(all.lines, count_lines());
  EXPECT_EQ(many, all);
  EXPECT_EQ(many.boot, 3u);
}

TEST_F(Starts, ReadNoMoreThanWhatCameAfterTheLastCheckpointOfAKilledRun) {
  run(10'000, 5, true, {.every = 20'000});
  const Known known = start();
  EXPECT_EQ(known, start_without_checkpoint());
  EXPECT_EQ(known.files.size(), 5u);
  EXPECT_LT(known.lines, count_lines() / 2);
  // Nor does the next one read them again, although it is killed at once.
  open();
  EXPECT_EQ(start().lines, 0u);
}

// The journal's thread does not stand still for as long as writing them takes, nor is memory without a bound kept for
// it.
TEST_F(Starts, ReadMoreAfterARunWithVeryManyFiles) {
  run(100, 10);
  run(2'000, 10, true, {.every = 1'000, .most_meanwhile = 20});
  EXPECT_EQ(start().lines, 2'001u);
  EXPECT_EQ(start().files.size(), 20u);
  run(100, 0, false, {.every = 1'000, .most_meanwhile = 20});
  EXPECT_EQ(start().lines, 0u) << "at the end it is written all the same";

  run(100, 10, false, {.every = 1'000, .most_meanwhile = 0, .most_kept = 45});
  const Known known = start();
  EXPECT_EQ(known.lines, 102u);
  EXPECT_EQ(known.files.size(), 30u);
  EXPECT_EQ(known, start_without_checkpoint());
}

TEST_F(Starts, WithoutAGoodCheckpointKnowAllTheSame) {
  run(100, 5);
  const std::string first = read("checkpoint");
  run(100, 5);
  const std::string good = read("checkpoint"), journal = read("events.jsonl");
  const Known known = start();
  ASSERT_EQ(known.files.size(), 10u);

  const auto expect_all_is_read = [&](const std::string& why) {
    const Known all = start();
    EXPECT_EQ(all, known) << why;
    EXPECT_EQ(all.lines, count_lines()) << why;
    EXPECT_NE(all.trouble.find("all of the journal was read at the start: "), std::string::npos) << all.trouble;
    EXPECT_NE(all.trouble.find(why), std::string::npos) << all.trouble;
  };
  std::filesystem::remove(path("checkpoint"));
  expect_all_is_read("No such file");
  write("checkpoint", "");
  expect_all_is_read("is no checkpoint");
  std::string damaged = good;
  damaged[good.size() / 2] ^= 1;
  write("checkpoint", damaged);
  expect_all_is_read("is damaged");
  write("checkpoint", "oboro-checkpoint 2 00000000\n");
  expect_all_is_read("is of version 2, not 1");
  std::filesystem::remove(path("checkpoint"));
  std::filesystem::create_directory(path("checkpoint"));
  expect_all_is_read("Is a directory");
  std::filesystem::remove(path("checkpoint"));

  // Another journal's, which knows of no file.
  const std::string own = state_;
  state_ = own + "-other";
  run(10, 0);
  const std::string foreign = directory_.read("state-other/checkpoint");
  state_ = own;
  write("checkpoint", foreign);
  expect_all_is_read("is another journal");

  // An older one of this journal is as good, and only costs what came after it.
  write("checkpoint", first);
  const Known older = start();
  EXPECT_EQ(older, known);
  EXPECT_EQ(older.trouble, "");
  EXPECT_EQ(older.lines, 102u);

  // The journal lost its end, or a line before it.
  write("checkpoint", good);
  write("events.jsonl", journal.substr(0, journal.size() - 300));
  EXPECT_NE(start().trouble.find("ends at byte"), std::string::npos) << start().trouble;
  EXPECT_EQ(start().files, known.files);
  write("events.jsonl", journal.substr(0, journal.find('\n') + 1) + journal.substr(journal.find('\n', 2000) + 1));
  EXPECT_NE(start().trouble.find("the journal was changed since"), std::string::npos) << start().trouble;
}

TEST_F(Starts, LeavePlacesFromWhichEventsAreFoundAtOnce) {
  run(12'000, 5);
  const std::vector<uint64_t> numbers = {1, 2, 5'000, 9'999, 12'002, 99'999};
  expect_found_at_once(numbers);
  // As many places are there when all of the journal was read as when it was written.
  std::filesystem::remove(path("checkpoint"));
  open();
  expect_found_at_once(numbers);

  // A number out of order must hide nothing: who wants events from there on gets what comes behind the first one.
  const std::string journal = read("events.jsonl");
  const size_t early = journal.find('\n', journal.size() / 4) + 1, end = journal.find('\n', early);
  std::string line = journal.substr(early, end - early + 1);
  const size_t at = line.find("\"seq\":") + 6;
  line = line.substr(0, at) + "9000" + line.substr(line.find(',', at));
  write("events.jsonl", journal.substr(0, early) + line + journal.substr(early));
  open();
  expect_found_at_once({1, 5'000, 8'999, 9'000, 9'500, 12'002, 99'999});
}

TEST_F(Starts, LeavePlacesInWhatIsWrittenAtTheEnd) {
  auto journal = open();
  ASSERT_TRUE(journal);
  {
    Reports reports(state_, journal->settings());
    for (uint64_t i = 0; i < 12'000; ++i) reports.push(Kind::diffusion, process(journal->settings().first_id + i, 800));
  }
  ASSERT_TRUE(journal->finish("the guest ended"));  // its thread never ran
  expect_found_at_once({1, 5'000, 9'999, 12'000});
}

// The places of a journal that is not what it was are not used.
TEST_F(Starts, DoNotMisleadWhoLooksForAnEvent) {
  run(5'000, 5);
  const std::string journal = read("events.jsonl");
  const size_t second = journal.find('\n') + 1;
  write("events.jsonl", journal.substr(0, second) + journal.substr(journal.find('\n', second) + 1));
  auto reader = open_before(state_, 4'900);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->cursor(), stream::Cursor{});
}

TEST_F(Starts, SayInTheJournalWhyAllOfItWasRead) {
  run(10, 3);
  write("checkpoint", "nonsense");
  run(10, 3);
  EXPECT_NE(read("events.jsonl")
                .find("all of the journal was read at the start: " + path("checkpoint") + ": is no checkpoint"),
            std::string::npos);
  EXPECT_EQ(start().lines, 0u);
}

TEST_F(Starts, TakeOverAJournalOfBefore) {
  std::filesystem::create_directory(state_);
  std::filesystem::permissions(state_, std::filesystem::perms::owner_all);
  {
    store::testing::Events events;
    store::LabelNames labels;
    ASSERT_TRUE(labels.add("old"));
    auto appender = store::Appender::open(state_);
    ASSERT_TRUE(appender);
    for (uint64_t id = 1; id <= 3; ++id)
      appender->append(events.make(Kind::classified, file(id, "/srv/" + std::to_string(id)), {}, 1), labels, "vm");
    ASSERT_TRUE(appender->flush());
  }
  run(10, 0);
  const Known known = start();
  EXPECT_EQ(known.lines, 0u);
  // `plan` is the rule's; `old` is what the journal has besides.
  using Files = std::vector<std::pair<uint64_t, uint64_t>>;
  EXPECT_EQ(known.files, (Files{{1, 2}, {2, 2}, {3, 2}}));
  EXPECT_NE(read("labels.json").find("\"old\""), std::string::npos);
}

// A bit is what labels.json says. If that is lost, names count.
TEST_F(Starts, KnowLabelsByTheirNames) {
  run(10, 3);
  write("labels.json", R"({"labels":["first","second"]})");
  const Known known = start();
  ASSERT_EQ(known.files.size(), 3u);
  EXPECT_EQ(known.files[0].second, 4u);
  EXPECT_EQ(known, start_without_checkpoint());
}

TEST_F(Starts, CountNoCheckpointThatCannotBeWrittenAsAFailure) {
  run(10, 3);
  std::filesystem::remove(path("checkpoint"));
  std::filesystem::create_directory(path("checkpoint.new"));
  const Known known = start();
  EXPECT_EQ(known.files.size(), 3u);
  EXPECT_NE(known.trouble.find("no checkpoint could be written"), std::string::npos) << known.trouble;
}

}  // namespace
}  // namespace oboro::supervisor
