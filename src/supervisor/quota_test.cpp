// A guest that makes events without end: what becomes of its own record, of what its next run knows, and of others'.
#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <iterator>
#include <map>
#include <thread>

#include "store/journal/bytes.h"
#include "store/journal/verify.h"
#include "stream/reader.h"
#include "supervisor/checkpoint.h"
#include "supervisor/journal_writer.h"
#include "supervisor/reports_test.h"
#include "tests/support/base/testing.h"
#include "tests/support/store/testing.h"

namespace oboro::supervisor {
namespace {

using event::Event;
using event::Kind;
using store::testing::file;
using store::testing::process;
using store::testing::socket;

constexpr uint64_t kSecondNs = 1'000'000'000;

void until(const std::function<bool()>& holds) {
  for (int i = 0; i < 600'000 && !holds(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_TRUE(holds());
}

// A guest with a directory for its state.
class FloodingGuest {
 public:
  explicit FloodingGuest(std::string state) : state_(std::move(state)) {}

  void begin() {
    auto opened = JournalWriter::open(
        state_, "guest", {{.pattern = "/srv/**", .labels = 0, .label = "plan"}},
        {.keeping = keeping, .checkpoints = {.every = uint64_t{1} << 60}, .clock = [this] { return now.load(); }});
    ASSERT_TRUE(opened) << opened.error().message;
    journal = std::move(*opened);
    first_id = journal->settings().first_id;
    ASSERT_TRUE(journal->start("tcg", "11.1.3"));
    reports.emplace(state_, journal->settings());
  }
  void rename(uint64_t times, const std::string& name = "/home/a") {
    event::Object directory = file(0, name);
    for (uint64_t i = 0; i < times; ++i) reports->push(Kind::renamed, directory);
  }
  // It becomes the present one's last event that is not left out.
  void leak_and_wait(uint64_t port) {
    reports->push(Kind::leak, socket(0, "10.0.2.2", static_cast<uint16_t>(port)));
    until([&] { return is_written(reports->last_seq()); });
  }
  void end() {
    ASSERT_TRUE(journal->finish("the guest ended"));
    journal.reset();
  }
  void kill() { journal.reset(); }

  std::vector<Event> events(Kind kind) const {
    std::vector<Event> out;
    auto reader = stream::Reader::open(state_);
    EXPECT_TRUE(reader) << reader.error().message;
    for (Event event; reader && *reader->next(event);)
      if (event.kind == kind) out.push_back(event);
    return out;
  }
  // In the journal's last lines.
  bool is_written(uint64_t seq) const {
    std::ifstream file(store::journal_path(state_), std::ios::binary | std::ios::ate);
    const std::streamoff size = file.tellg();
    file.seekg(std::max<std::streamoff>(size - 65536, 0));
    const std::string end{std::istreambuf_iterator<char>(file), {}};
    return end.find(",\"seq\":" + std::to_string(seq) + ",") != std::string::npos;
  }
  std::map<uint64_t, uint64_t> known() const {
    std::map<uint64_t, uint64_t> out;
    for (const link::KnownFile& one : journal->settings().files) out[one.id] = one.labels;
    return out;
  }
  void expect_whole_chain() const {
    const auto verified = store::verify(state_);
    ASSERT_TRUE(verified) << verified.error().message;
    EXPECT_FALSE(verified->problem) << verified->problem->what;
  }
  const std::string& state() const { return state_; }

  store::Keeping keeping;
  std::atomic<uint64_t> now{kSecondNs};  // stands still
  std::unique_ptr<JournalWriter> journal;
  std::optional<Reports> reports;
  uint64_t first_id = 0;

 private:
  const std::string state_;
};

class Quota : public ::testing::Test {
 protected:
  Quota() { guest_.keeping.max_events = 100; }  // 6000 at once
  // Files 1 and 2 get labels, the second one while events are left out.
  void flood() {
    guest_.begin();
    guest_.reports->push(Kind::classified, file(guest_.first_id, "/srv/1"));
    guest_.rename(9'000);
    guest_.reports->push(Kind::diffusion, file(guest_.first_id + 1, "/home/2"));
    guest_.leak_and_wait(443);
  }
  const store::testing::TempDirectory directory_;
  FloodingGuest guest_{directory_.path() + "/state"};
};

TEST_F(Quota, WhatIsBeyondItIsLeftOutAndSaid) {
  flood();
  EXPECT_NE(guest_.journal->trouble().value_or("").find("events are left out"), std::string::npos);
  guest_.rename(3);  // the last numbers are of events that are left out
  guest_.end();
  EXPECT_EQ(guest_.events(Kind::classified).size(), 1u);
  EXPECT_EQ(guest_.events(Kind::leak).size(), 1u);
  EXPECT_EQ(guest_.events(Kind::diffusion).size(), 0u);
  const uint64_t written = guest_.events(Kind::renamed).size();
  EXPECT_EQ(written, 6000u - 2) << "`started` and the first `classified` count, too";
  const auto floods = guest_.events(Kind::flood);
  ASSERT_EQ(floods.size(), 2u);
  EXPECT_EQ(floods[0].as<event::Flood>().count, 0u) << "it begins";
  const auto& told = floods[1].as<event::Flood>();
  EXPECT_EQ(told.reason, "rate");
  EXPECT_EQ(told.count, 9'004u - written);
  EXPECT_EQ(told.kinds, "diffusion 1, renamed " + std::to_string(9'003 - written));
  EXPECT_EQ(told.last_seq, guest_.reports->last_seq());
  const auto stopped = guest_.events(Kind::stopped);
  ASSERT_EQ(stopped.size(), 1u);
  EXPECT_EQ(stopped[0].seq, guest_.reports->last_seq() + 1);
  guest_.expect_whole_chain();
  history::History state;
  auto reader = stream::Reader::open(guest_.state());
  for (Event event; *reader->next(event);) state.apply(event);
  EXPECT_FALSE(state.complete());
  EXPECT_EQ(state.lost(), 0u);
  EXPECT_EQ(state.left_out().events, told.count);
}

TEST_F(Quota, LabelsAreNotLostByIt) {
  flood();
  guest_.end();
  const uint64_t first = guest_.first_id;
  guest_.begin();
  EXPECT_EQ(guest_.known(), (std::map<uint64_t, uint64_t>{{first, 1}, {first + 1, 1}}));
  EXPECT_EQ(guest_.first_id, first + 2);
  EXPECT_FALSE(guest_.journal->settings().labels_missing);
}

TEST_F(Quota, ARunThatIsKilledMeanwhileLeavesWordForTheNext) {
  flood();
  guest_.kill();
  const uint64_t first = guest_.first_id;
  guest_.begin();
  EXPECT_EQ(guest_.known(), (std::map<uint64_t, uint64_t>{{first, 1}}));
  EXPECT_TRUE(guest_.journal->settings().labels_missing);
  EXPECT_GT(guest_.first_id, first + (uint64_t{1} << 31)) << "nobody knows which IDs were given";
  EXPECT_NE(guest_.journal->trouble().value_or("").find("labels of files may be missing"), std::string::npos);
  guest_.end();
  const uint64_t later = guest_.first_id;
  guest_.begin();
  EXPECT_GE(guest_.first_id, later);
  EXPECT_FALSE(guest_.journal->settings().labels_missing) << "that run has said it";
}

TEST_F(Quota, ACheckpointIsWrittenAfterIt) {
  flood();
  guest_.now += 61 * kSecondNs;
  until([&] { return static_cast<bool>(read_checkpoint(checkpoint_path(guest_.state()))); });
  const auto floods = guest_.events(Kind::flood);
  ASSERT_EQ(floods.size(), 2u) << "it is told after ten seconds";
  EXPECT_GT(floods[1].as<event::Flood>().count, 0u);
  guest_.kill();
  const uint64_t first = guest_.first_id;
  guest_.begin();
  EXPECT_EQ(guest_.known(), (std::map<uint64_t, uint64_t>{{first, 1}, {first + 1, 1}}));
  EXPECT_FALSE(guest_.journal->settings().labels_missing);
}

TEST_F(Quota, WhatIsLeftOutAfterACheckpointIsMissingAgain) {
  flood();
  guest_.now += 61 * kSecondNs;
  until([&] { return static_cast<bool>(read_checkpoint(checkpoint_path(guest_.state()))); });
  guest_.rename(9'000);
  guest_.leak_and_wait(444);
  guest_.kill();
  guest_.begin();
  EXPECT_TRUE(guest_.journal->settings().labels_missing);
}

// Two guests whose state is on one small disk.
class TwoGuests : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!disk_.mounted()) GTEST_SKIP() << "this host: only who may mount has the small file system that it needs";
  }
  // One makes renames as fast as it can, of names that need twelve bytes of journal for each of theirs. The other one
  // sends out meanwhile, and the first one at the end.
  void run(uint64_t renames) {
    flooder_.begin();
    quiet_.begin();
    std::thread flood([&] { flooder_.rename(renames, "/home/" + std::string(100, '\xff')); });
    for (uint64_t i = 0; i < kLeaks; ++i) {
      quiet_.reports->push(Kind::diffusion, process(quiet_.first_id + i, 800));
      quiet_.leak_and_wait(1000 + i);
    }
    flood.join();
    quiet_.leak_and_wait(443);
    flooder_.leak_and_wait(443);
    quiet_.end();
    flooder_.end();
    flooder_.expect_whole_chain();
    quiet_.expect_whole_chain();
    EXPECT_EQ(flooder_.events(Kind::leak).size(), 1u);
    EXPECT_EQ(flooder_.events(Kind::stopped).size(), 1u);
    EXPECT_EQ(quiet_.events(Kind::leak).size(), kLeaks + 1);
    EXPECT_EQ(quiet_.events(Kind::stopped).size(), 1u);
    uint64_t left_out = 0;
    std::string reasons;
    for (const Event& event : flooder_.events(Kind::flood)) {
      left_out += event.as<event::Flood>().count;
      reasons = event.as<event::Flood>().reason;
    }
    EXPECT_EQ(reasons, reason_);
    EXPECT_EQ(left_out + flooder_.events(Kind::renamed).size(), renames);
  }

  static constexpr uint64_t kLeaks = 50;
  const oboro::testing::SmallDisk disk_{"size=36m,mode=755"};  // 16 MiB are the rings'
  FloodingGuest flooder_{disk_.path() + "/flooder"}, quiet_{disk_.path() + "/quiet"};
  std::string reason_ = "rate";
};

TEST_F(TwoGuests, OneThatFloodsTakesNothingOfTheOthersRecord) {
  flooder_.keeping.max_rate = 64 << 10;
  run(40'000);
  EXPECT_EQ(quiet_.events(Kind::diffusion).size(), kLeaks);
  EXPECT_EQ(quiet_.events(Kind::flood).size(), 0u);
}

TEST_F(TwoGuests, TheEndOfTheDiskIsForWhatMustNotBeLost) {
  flooder_.keeping.max_rate = store::Keeping::kMostRate;
  flooder_.keeping.max_events = store::Keeping::kMostEvents;
  reason_ = "space";
  run(25'000);
}

}  // namespace
}  // namespace oboro::supervisor
