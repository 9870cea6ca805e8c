// The index of a run.
#include "supervisor/indexer.h"

#include <filesystem>
#include <gtest/gtest.h>

#include "index/index.h"
#include "supervisor/journal_writer.h"
#include "supervisor/reports_test.h"
#include "tests/support/store/testing.h"

namespace oboro::supervisor {
namespace {

using event::Kind;
using store::testing::file;

class Run : public ::testing::Test {
 protected:
  // What was said of trouble.
  std::string run(uint64_t events) {
    auto journal = JournalWriter::open(state_, "guest", {{.pattern = "/srv/**", .labels = 0, .label = "plan"}});
    EXPECT_TRUE(journal) << journal.error().message;
    EXPECT_TRUE((*journal)->start("tcg", "11.1.3"));
    Reports reports(state_, (*journal)->settings());
    for (uint64_t i = 0; i < events; ++i)
      reports.push(Kind::classified, file((*journal)->settings().first_id + i, "/srv/" + std::to_string(i)));
    EXPECT_TRUE((*journal)->finish("the guest ended"));
    return (*journal)->trouble().value_or("");
  }
  void expect_index_is_whole() const {
    const auto snapshot = index::Snapshot::open(state_);
    ASSERT_TRUE(snapshot) << snapshot.error().message;
    auto reader = stream::Reader::open(state_);
    ASSERT_TRUE(reader);
    history::History state;
    event::Event event;
    while (*reader->next(event)) state.apply(event);
    EXPECT_EQ((*snapshot)->standing().cursor, reader->cursor());
    EXPECT_EQ((*snapshot)->standing().figures.present, state.figures().present);
    EXPECT_EQ((*snapshot)->state().objects(event::ObjectType::file).size(),
              state.objects(event::ObjectType::file).size());
  }

  store::testing::TempDirectory directory_;
  const std::string state_ = directory_.path() + "/state";
};

TEST_F(Run, LeavesAnIndexOfAllThatIsInTheJournal) {
  EXPECT_EQ(run(300), "");
  expect_index_is_whole();
  EXPECT_EQ(run(20), "");
  expect_index_is_whole();
}

TEST_F(Run, MakesADamagedIndexAnewAndSaysSo) {
  EXPECT_EQ(run(30), "");
  directory_.write("state/index.sqlite", std::string(1000, 'x'));
  EXPECT_EQ(run(30), "the index of the journal is made anew: " + state_ + "/index.sqlite: file is not a database");
  expect_index_is_whole();
}

TEST_F(Run, GoesOnWhereNoIndexCanBeWritten) {
  ASSERT_TRUE(std::filesystem::create_directories(state_ + "/index.sqlite"));
  std::filesystem::permissions(state_, std::filesystem::perms::owner_all);
  const std::string trouble = run(30);
  EXPECT_NE(trouble.find("the index of the journal is not kept any more"), std::string::npos) << trouble;
  EXPECT_EQ(trouble.find("the index of"), trouble.rfind("the index of")) << "it is said once: " << trouble;
  EXPECT_NE(directory_.read("state/events.jsonl").find("\"stopped\""), std::string::npos);
}

}  // namespace
}  // namespace oboro::supervisor
