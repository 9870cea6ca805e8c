// The journal of runs that is cut into segments, compressed and shortened: no event, label or head is lost by it.
#include "supervisor/archivist.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "store/files.h"
#include "stream/reader.h"
#include "supervisor/checkpoint.h"
#include "supervisor/journal_writer.h"
#include "supervisor/read_back.h"
#include "supervisor/reports_test.h"
#include "tests/support/store/testing.h"

namespace oboro::supervisor {
namespace {

using event::Event;
using event::Kind;

class Segments : public ::testing::Test {
 protected:
  Segments() { keeping_.segment = 32 * 1024; }
  Result<std::unique_ptr<JournalWriter>> open() {
    return JournalWriter::open(state_, "guest", {{.pattern = "/srv/**", .labels = 0, .label = "plan"}},
                               {.keeping = keeping_, .checkpoints = {}});
  }

  // A run in which `files` files get labels and stay, and so many processes come and go. `then` is called while it
  // runs, after all of that is in the journal.
  void run(uint64_t files, uint64_t processes, const std::function<void()>& then = {}) {
    auto journal = open();
    ASSERT_TRUE(journal) << journal.error().message;
    ASSERT_TRUE((*journal)->start("tcg", "11.1.3"));
    Reports reports(state_, (*journal)->settings());
    uint64_t id = (*journal)->settings().first_id;
    for (uint64_t i = 0; i < files; ++i, ++id)
      reports.push(Kind::classified, store::testing::file(id, "/srv/" + std::to_string(id)));
    for (uint64_t i = 0; i < processes; ++i, ++id) {
      reports.push(Kind::diffusion, store::testing::process(id, 800));
      reports.push(Kind::exited, store::testing::process(id, 800));
      // Segments are looked after between two looks into the ring.
      if (i % 100 == 99) eventually([&] { return last_seq() == reports.last_seq(); });
    }
    eventually([&] { return last_seq() == reports.last_seq(); });
    if (then) then();
    ASSERT_TRUE((*journal)->finish("the guest ended"));
    said_ = (*journal)->trouble().value_or("");
    last_ = reports.last_seq() + 1;  // `stopped`
  }

  void eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 60'000; ++i) {
      if (holds()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    FAIL() << "it does not come to that";
  }
  uint64_t last_seq() const {
    uint64_t last = 0;
    for (const Event& event : events_now()) {
      // All that had a number may have been removed.
      const bool begins = event.kind == Kind::segment;
      last = std::max(last, begins ? event.as<event::SegmentBegin>().last_seq : event.seq);
    }
    return last;
  }
  std::vector<std::string> older(std::string_view ending) const {
    std::vector<std::string> found;
    if (!std::filesystem::exists(store::segments_path(state_))) return found;
    for (const auto& entry : std::filesystem::directory_iterator(store::segments_path(state_)))
      if (entry.path().string().ends_with(ending)) found.push_back(entry.path().string());
    std::ranges::sort(found);
    return found;
  }
  // While segments may be removed: one that is removed under a reader ends it, and the next reader begins behind it.
  std::vector<Event> events_now(uint64_t* damage = nullptr) const {
    Error why;
    for (int tries = 0; tries < 1'000; ++tries) {
      std::vector<Event> out;
      auto reader = stream::Reader::open(state_);
      Result<bool> more = reader ? Result<bool>(true) : reader.error();
      for (Event event; more && (more = reader->next(event)) && *more;) out.push_back(event);
      if (more && damage) *damage = reader->damage().count;
      if (more) return out;
      why = more.error();
    }
    ADD_FAILURE() << why.message;
    return {};
  }
  std::vector<Event> events() const {
    uint64_t damage = 0;
    auto out = events_now(&damage);
    EXPECT_EQ(damage, 0u);
    return out;
  }
  size_t labelled_files() {
    auto journal = open();
    EXPECT_TRUE(journal) << journal.error().message;
    return journal ? (*journal)->settings().files.size() : 0;
  }

  store::Keeping keeping_;
  std::string said_;
  uint64_t last_ = 0;
  const store::testing::TempDirectory directory_;
  std::string state_ = directory_.path() + "/state";
};

TEST_F(Segments, HaveAllEventsOnceAndAreCompressed) {
  run(20, 400, [&] { eventually([&] { return older(".jsonl.zst").size() >= 3 && older(".jsonl").empty(); }); });
  run(5, 10);
  uint64_t expected = 1;
  size_t begun = 0;
  for (const Event& event : events()) {
    if (event.seq != 0) {
      EXPECT_EQ(event.seq, expected++);
    }
    begun += event.kind == Kind::segment;
  }
  EXPECT_EQ(expected - 1, last_);
  EXPECT_EQ(begun, older(".jsonl.zst").size() + older(".jsonl").size());
  EXPECT_EQ(said_, "");
  const auto verified = store::verify(state_);
  ASSERT_TRUE(verified);
  EXPECT_FALSE(verified->problem) << verified->problem->what;
  EXPECT_EQ(labelled_files(), 25u);
}

TEST_F(Segments, AreRemovedWithoutTheLossOfALabel) {
  keeping_.size = 1;
  run(20, 400,
      [&] { eventually([&] { return events_now().front().kind == Kind::segment && older(".zst").empty(); }); });
  EXPECT_EQ(older(".checkpoint").size(), 1u);
  const auto all = events();
  EXPECT_TRUE(std::ranges::any_of(all, [](const Event& event) {
    return event.kind == Kind::warning && event.as<event::Warning>().text.find("were removed") != std::string::npos;
  }));
  EXPECT_EQ(labelled_files(), 20u);
  // What `oboro list` begins with.
  const auto held = held_at_begin(state_, *store::LabelNames::load(state_));
  ASSERT_TRUE(held) << held.error().message;
  const history::History before(*held);
  EXPECT_EQ(before.persistent_files().size(), 20u);
  EXPECT_NE(before.find_file("/srv/1"), nullptr);
  EXPECT_FALSE(store::verify(state_)->problem);
  const std::string checkpoint = checkpoint_path(state_);
  std::filesystem::remove(checkpoint);
  EXPECT_EQ(labelled_files(), 20u) << "from the oldest segment's own checkpoint";
  // Without any of them, nobody knows.
  std::filesystem::remove(checkpoint);
  std::filesystem::remove(older(".checkpoint").front());
  const auto refused = open();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("the beginning of the journal was removed"), std::string::npos)
      << refused.error().message;
}

TEST_F(Segments, AreKeptWhereTheNextOneHasNoCheckpoint) {
  run(3, 200);
  for (const std::string& path : older(".checkpoint")) std::filesystem::remove(path);
  const size_t before = older(".jsonl").size() + older(".zst").size();
  ASSERT_GT(before, 0u);
  keeping_.size = 1;
  run(1, 1, [&] { eventually([&] { return older(".jsonl").empty(); }); });
  EXPECT_EQ(older(".zst").size(), before);
  EXPECT_NE(said_.find("there is no checkpoint behind it"), std::string::npos) << said_;
  EXPECT_EQ(events().front().kind, Kind::started);
}

TEST_F(Segments, HeadsAreSentElsewhere) {
  keeping_.heads = directory_.path() + "/heads";
  keeping_.heads_command = {"/bin/sh", "-c", "printf '%s\\n' \"$0\" >>" + directory_.path() + "/told"};
  keeping_.heads_every_s = 1;
  const auto heads = [&] {
    const auto text = store::read_file(keeping_.heads, 1 << 20);
    auto parsed = store::parse_heads(text ? *text : "", "heads");
    EXPECT_TRUE(parsed) << parsed.error().message;
    return *parsed;
  };
  run(3, 200, [&] { eventually([&] { return heads().size() == 1; }); });
  run(1, 10);
  EXPECT_EQ(said_, "");
  const auto sent = heads();
  ASSERT_GE(sent.size(), 3u);  // the end of each run is sent, too
  EXPECT_EQ(sent.back().seq, last_);
  EXPECT_EQ(*store::read_file(directory_.path() + "/told", 1 << 20), *store::read_file(keeping_.heads, 1 << 20));
  const auto verified = store::verify(state_, sent);
  ASSERT_TRUE(verified);
  EXPECT_FALSE(verified->problem) << verified->problem->what;
  EXPECT_EQ(verified->heads, sent.size());
  keeping_.heads_command = {"/bin/false"};
  run(0, 1);
  EXPECT_NE(said_.find("did not take a head"), std::string::npos) << said_;
}

}  // namespace
}  // namespace oboro::supervisor
