#include "supervisor/journal_writer.h"

#include <chrono>
#include <thread>

#include "event/detail.h"
#include "stream/reader.h"
#include "supervisor/reports_test.h"
#include "tests/support/store/testing.h"

namespace oboro::supervisor {
namespace {

using event::Kind;

std::vector<event::Event> events_in(const std::string& state_dir) {
  std::vector<event::Event> events;
  auto reader = stream::Reader::open(state_dir);
  EXPECT_TRUE(reader) << reader.error().message;
  event::Event event;
  for (;;) {
    const Result<bool> more = reader ? reader->next(event) : Result<bool>(false);
    if (!more || !*more) return events;
    events.push_back(event);
  }
}

TEST(JournalWriter, WarningsStandBesideTheSequence) {
  const store::testing::TempDirectory directory;
  const std::string state = directory.path() + "/state";
  {
    auto journal = JournalWriter::open(state, "guest", {});
    ASSERT_TRUE(journal) << journal.error().message;
    (*journal)->warn("before it begins");
    ASSERT_TRUE((*journal)->start("tcg", "11.1.3"));
    (*journal)->warn("the proxy of a service has ended");
    for (int i = 0; i < 500 && events_in(state).size() < 3; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(events_in(state).size(), 3u) << "at once, not when the run ends";
    (*journal)->warn("at the end");
    ASSERT_TRUE((*journal)->finish("the guest ended"));
  }
  std::vector<std::pair<Kind, std::string>> found;
  for (const event::Event& event : events_in(state)) {
    found.emplace_back(event.kind, event::detail(event));
    EXPECT_EQ(event.seq == 0, event.kind == Kind::warning);
    EXPECT_EQ(event.boot, 1u);
    EXPECT_GT(event.time_ns, 0u);
  }
  EXPECT_EQ(found, (std::vector<std::pair<Kind, std::string>>{{Kind::started, "engine tcg, QEMU 11.1.3"},
                                                              {Kind::warning, "before it begins"},
                                                              {Kind::warning, "the proxy of a service has ended"},
                                                              {Kind::warning, "at the end"},
                                                              {Kind::stopped, "the guest ended"}}));
  // The next run goes on after the last number of this one.
  auto next = JournalWriter::open(state, "guest", {});
  ASSERT_TRUE(next);
  EXPECT_EQ((*next)->settings().first_seq, 4u);
}

TEST(JournalWriter, TheNextRunKnowsWhichDirectoriesMatter) {
  const store::testing::TempDirectory directory;
  const std::string state = directory.path() + "/state";
  const std::vector<link::ClassifyRule> rules = {{.pattern = "/srv/**", .labels = 0, .label = "plan"}};
  const event::Object file = store::testing::file(1, "/srv/secret/plan.txt");
  {
    auto journal = JournalWriter::open(state, "guest", rules);
    ASSERT_TRUE(journal) << journal.error().message;
    ASSERT_TRUE((*journal)->start("tcg", "11.1.3"));
    Reports reports(state, (*journal)->settings());
    reports.push(Kind::classified, file);
    ASSERT_TRUE((*journal)->finish("the guest ended"));
  }
  auto next = JournalWriter::open(state, "guest", rules);
  ASSERT_TRUE(next);
  const labels::NamedPlaces places((*next)->settings().places);
  EXPECT_TRUE(places.matter(file.fs, "/srv/secret"));
  EXPECT_TRUE(places.matter(file.fs, "/srv"));
  EXPECT_FALSE(places.matter(file.fs, "/home/user"));
  EXPECT_NE((*next)->settings().places.seed, 0u);
}

}  // namespace
}  // namespace oboro::supervisor
