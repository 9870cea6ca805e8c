// oboro events as a subscriber's program starts it, with a pipe and a cursor file.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "store/journal/appender.h"
#include "tests/support/store/testing.h"

namespace oboro::cli {
namespace {

using event::Kind;
using store::testing::TempDirectory;

class Journal {
 public:
  Journal() : appender_(std::move(*store::Appender::open(directory_.path()))) {}
  void add(int count) {
    for (int i = 0; i < count; ++i) appender_.append(events_.make(Kind::warning), {}, "vm");
    ASSERT_TRUE(appender_.flush());
  }
  const TempDirectory& directory() const { return directory_; }

 private:
  TempDirectory directory_;
  store::Appender appender_;
  store::testing::Events events_;
};

// `oboro events` with its standard output in a pipe.
class Program {
 public:
  Program(const Journal& journal, std::vector<std::string> arguments) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::alarm(30);
      arguments.insert(arguments.begin(), {OBORO_PROGRAM, "events", "--state", journal.directory().path()});
      std::vector<char*> words;
      for (std::string& word : arguments) words.push_back(word.data());
      words.push_back(nullptr);
      ::execv(words[0], words.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    output_.reset(ends[0]);
  }
  // The numbers of the events that it shows, at most `most`.
  std::vector<uint64_t> numbers(size_t most = SIZE_MAX) {
    std::vector<uint64_t> out;
    while (out.size() < most) {
      const size_t end = text_.find('\n');
      if (end != std::string::npos) {
        out.push_back(std::stoull(text_.substr(0, end)));
        text_.erase(0, end + 1);
        continue;
      }
      char block[4096];
      const ssize_t size = ::read(output_.get(), block, sizeof block);
      if (size <= 0) break;
      text_.append(block, static_cast<size_t>(size));
    }
    return out;
  }
  void close_output() { output_.reset(); }
  void kill() const { ::kill(pid_, SIGKILL); }
  int status() const {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  UniqueFd output_;
  std::string text_;
};

TEST(Events, EndsWhenNobodyReads) {
  Journal journal;
  journal.add(3);
  Program follower(journal, {"-f"});
  EXPECT_EQ(follower.numbers(3).size(), 3u);
  follower.close_output();  // nothing happens that the follower would notice by writing
  EXPECT_EQ(follower.status(), 0);
  journal.add(20'000);
  Program reader(journal, {});
  EXPECT_EQ(reader.numbers(1).size(), 1u);
  reader.close_output();
  EXPECT_EQ(reader.status(), 0);
}

TEST(Events, FollowsAsTheyCome) {
  Journal journal;
  journal.add(1);
  Program follower(journal, {"-f", "--from", "2"});
  for (uint64_t seq = 2; seq < 20; ++seq) {
    journal.add(1);
    EXPECT_EQ(follower.numbers(1), std::vector<uint64_t>{seq});
  }
  follower.kill();
  EXPECT_EQ(follower.status(), 1000 + SIGKILL);
}

TEST(Events, CursorFileGoesOnWhereTheOutputWas) {
  Journal journal;
  journal.add(5);
  const std::string file = journal.directory().path() + "/web.cursor";
  const std::vector<std::string> arguments{"--cursor", file};
  const auto shown = [&](std::vector<std::string> more = {}) {
    more.insert(more.begin(), arguments.begin(), arguments.end());
    Program program(journal, more);
    auto numbers = program.numbers();
    EXPECT_EQ(program.status(), 0);
    return numbers;
  };
  EXPECT_EQ(shown({"--from", "4"}), (std::vector<uint64_t>{4, 5})) << "the file is not there yet";
  EXPECT_EQ(shown({"--from", "1"}), std::vector<uint64_t>{});
  journal.add(2);
  EXPECT_EQ(shown(), (std::vector<uint64_t>{6, 7}));
  // Events that a filter left out count as dealt with, too.
  journal.add(2);
  EXPECT_EQ(shown({"--kind", "leak"}), std::vector<uint64_t>{});
  EXPECT_EQ(shown(), std::vector<uint64_t>{});
  EXPECT_NE(journal.directory().read("web.cursor").find(":9:"), std::string::npos);
}

TEST(Events, CursorIsNotAheadOfTheOutput) {
  Journal journal;
  journal.add(20'000);  // more than a pipe holds
  const std::string file = journal.directory().path() + "/cursor";
  uint64_t next = 1;
  for (int run = 0; run < 5; ++run) {
    Program follower(journal, {"-f", "--cursor", file});
    const auto got = follower.numbers(3000 + 1000 * static_cast<size_t>(run));
    ASSERT_FALSE(got.empty());
    EXPECT_LE(got.front(), next) << "an event is missing";
    for (size_t i = 1; i < got.size(); ++i) ASSERT_EQ(got[i], got[i - 1] + 1);
    next = got.back() + 1;
    // The bytes in the pipe are ours, because this process has not ended. They are read, and only events that were
    // never written come again.
    follower.kill();
    const auto left = follower.numbers();
    if (!left.empty()) next = left.back() + 1;
    EXPECT_EQ(follower.status(), 1000 + SIGKILL);
  }
}

TEST(Events, CursorThatIsNoneIsRefused) {
  Journal journal;
  journal.add(1);
  for (const char* text : {"", "57", "1f2e3d4c:1:1:00000000", "1f2e3d4c:1:1:00000000\n\n"}) {
    journal.directory().write("cursor", text);
    EXPECT_EQ(Program(journal, {"--cursor", journal.directory().path() + "/cursor"}).status(), 1) << text;
    EXPECT_EQ(journal.directory().read("cursor"), text);
  }
}

}  // namespace
}  // namespace oboro::cli
