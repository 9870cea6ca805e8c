// The verbs show the same with an index and without.
#include <array>
#include <cstdio>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "store/status.h"
#include "tests/support/index/chance.h"
#include "tests/support/store/testing.h"

namespace oboro::cli {
namespace {

using index::testing::Chance;

class Verbs : public ::testing::Test {
 protected:
  Verbs() {
    EXPECT_TRUE(labels_.add("plan") && labels_.add("key") && labels_.add("list"));
    EXPECT_TRUE(labels_.save(directory_.path()));
    EXPECT_TRUE(store::write_status(directory_.path(), {}));
    appender_.emplace(std::move(*store::Appender::open(directory_.path())));
  }
  void journal(int events) {
    for (int i = 0; i < events; ++i) appender_->append(chance_.event(), labels_, "guest");
    ASSERT_TRUE(appender_->flush());
  }
  // What it prints, on both outputs, and how it ends.
  std::string oboro(const std::string& arguments) const {
    const std::string command =
        OBORO_PROGRAM " " + arguments + " --state " + directory_.path() + " 2>&1; echo [exit $?]";
    FILE* const pipe = ::popen(command.c_str(), "r");
    std::string out;
    std::array<char, 4096> block;
    for (size_t size = 0; pipe != nullptr && (size = ::fread(block.data(), 1, block.size(), pipe)) > 0;)
      out.append(block.data(), size);
    if (pipe != nullptr) ::pclose(pipe);
    return out;
  }
  std::vector<std::string> answers() const {
    std::vector<std::string> out;
    for (const char* arguments : {"list all --ended --json",
                                  "list all --json",
                                  "list files",
                                  "list --ended",
                                  "status --json",
                                  "status",
                                  "explain /d0/1 --json",
                                  "explain /d1/e/2",
                                  "explain /d2/3 --json",
                                  "explain 501 --json",
                                  "explain 503",
                                  "explain p25 --json",
                                  "explain s26",
                                  "explain f8 --json",
                                  "explain @7 --json",
                                  "explain @120 --json",
                                  "explain @100000",
                                  "explain /nowhere",
                                  "where /d0/1 --json",
                                  "where p25",
                                  "where 501 --still",
                                  "where f8 --json",
                                  "where s26 --limit 3",
                                  "where @7",
                                  "path /d0/1 p25",
                                  "path f8 f9 --json",
                                  "path /d0/1 @120"})
      out.push_back(std::string(arguments) + "\n" + oboro(arguments));
    for (int seq = 1; seq < 160; seq += 13) out.push_back(oboro("explain --json @" + std::to_string(seq)));
    return out;
  }
  void remove_index() const {
    for (const char* name : {"index.sqlite", "index.sqlite-wal", "index.sqlite-shm"})
      std::filesystem::remove(directory_.path() + "/" + name);
  }

  store::testing::TempDirectory directory_;
  store::LabelNames labels_;
  std::optional<store::Appender> appender_;
  Chance chance_{11};
};

TEST_F(Verbs, ShowTheSameWithAnIndex) {
  journal(150);
  EXPECT_NE(oboro("index").find("[exit 4]"), std::string::npos) << oboro("index");
  const auto without = answers();
  EXPECT_NE(oboro("index --rebuild").find("150 events are in the index"), std::string::npos);
  EXPECT_EQ(answers(), without);
  journal(40);
  const auto behind = answers();
  EXPECT_NE(behind, without);
  EXPECT_NE(oboro("index --json").find("{\"events\":150,"), std::string::npos) << "no verb but index writes it";
  remove_index();
  EXPECT_EQ(answers(), behind);
}

TEST_F(Verbs, SayWhyAnIndexIsNotUsed) {
  journal(50);
  const std::string without = oboro("list --json");
  ASSERT_NE(oboro("index --rebuild").find("[exit 0]"), std::string::npos);
  directory_.write("index.sqlite", std::string(1000, 'x'));
  const std::string why = "oboro: all of the journal is read: " + directory_.path() +
                          "/index.sqlite: file is not a database (oboro index --rebuild makes it anew)\n";
  EXPECT_EQ(oboro("list --json"), why + without);
  EXPECT_NE(oboro("index").find("[exit 1]"), std::string::npos);
  EXPECT_NE(oboro("index --rebuild").find("[exit 0]"), std::string::npos);
  EXPECT_EQ(oboro("list --json"), without);
}

}  // namespace
}  // namespace oboro::cli
