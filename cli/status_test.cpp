// oboro status beside a run, with a journal that is behind.
#include "store/status.h"

#include <array>
#include <cstdio>
#include <gtest/gtest.h>
#include <string>

#include "store/state_dir.h"
#include "stream/recorder.h"
#include "stream/ring_reader.h"
#include "stream/ring_writer.h"
#include "tests/support/store/testing.h"

namespace oboro::cli {
namespace {

std::string status_of(const std::string& directory) {
  const std::string command = std::string(OBORO_PROGRAM) + " status --json --state " + directory;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) return {};
  std::string text;
  std::array<char, 4096> block{};
  while (const size_t size = ::fread(block.data(), 1, block.size(), pipe)) text.append(block.data(), size);
  ::pclose(pipe);
  return text;
}

TEST(StatusTest, SaysHowManyEventsAreOnTheirWay) {
  const store::testing::TempDirectory directory;
  ASSERT_TRUE(store::write_status(directory.path(), {}));
  auto journal = store::Appender::open(directory.path());
  ASSERT_TRUE(journal);
  store::testing::Events events;
  for (int i = 0; i < 3; ++i) journal->append(events.make(event::Kind::warning), {}, "vm");
  ASSERT_TRUE(journal->flush());
  ASSERT_TRUE(stream::RingReader::create(stream::ring_path(directory.path()), 4096));
  auto ring = stream::RingWriter::open(stream::ring_path(directory.path()));
  ASSERT_TRUE(ring);
  ring->counters().last_seq = 5;
  {
    const auto run = store::StateLock::take(directory.path());
    ASSERT_TRUE(run);
    EXPECT_NE(status_of(directory.path()).find(R"("last_seq":3,"waiting":2,)"), std::string::npos);
    ring->counters().last_seq = 3;
    EXPECT_EQ(status_of(directory.path()).find("waiting"), std::string::npos) << "all of them are there";
    ring->counters().last_seq = 5;
  }
  EXPECT_EQ(status_of(directory.path()).find("waiting"), std::string::npos) << "nobody brings them there";
}

}  // namespace
}  // namespace oboro::cli
