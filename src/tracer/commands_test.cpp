#include "tracer/commands.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <thread>

#include "tracer/tracer_test.h"

namespace oboro::tracer {
namespace {

class CommandsTest : public TracerTest {
 protected:
  void SetUp() override {
    make();
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    ours.reset(ends[0]);
    theirs.reset(ends[1]);
    serving = std::thread([this] { serve_commands(*tracer, theirs.get()); });
  }
  void TearDown() override {
    ours.reset();  // this ends the serving thread
    serving.join();
  }
  link::Message ask(const link::Body& request, uint32_t number) {
    EXPECT_TRUE(link::send(ours.get(), request, number));
    Result<link::Message> answer = link::receive(ours.get(), 10000);
    EXPECT_TRUE(answer) << answer.error().message;
    return answer ? std::move(*answer) : link::Message{};
  }
  UniqueFd ours, theirs;
  std::thread serving;
};

TEST_F(CommandsTest, EveryRequestIsAnsweredUnderItsNumber) {
  EXPECT_EQ(ask(link::Ping{}, 7).request, 7u);
  EXPECT_TRUE(ask(link::Ping{}, 8).as<link::Done>());
  const link::Message refused = ask(link::Detach{}, 9);
  EXPECT_EQ(refused.request, 9u);
  ASSERT_TRUE(refused.as<link::Failed>());
  EXPECT_NE(refused.as<link::Failed>()->why.find("only a guest on engine kvm"), std::string::npos);
  EXPECT_TRUE(ask(link::Reset{}, 10).as<link::Failed>()) << "no request";
  EXPECT_TRUE(ask(link::Journal{true}, 11).as<link::Done>());
  EXPECT_TRUE(ask(link::GoOn{0, "root"}, 12).as<link::Done>());
  EXPECT_TRUE(ask(link::Pause{}, 13).as<link::Failed>()) << "an engine's";
}

TEST_F(CommandsTest, StatsAreTheTracersCountersAsTheyAreNow) {
  const link::Message before = ask(link::GetStats{}, 1);
  ASSERT_TRUE(before.as<link::Stats>());
  EXPECT_EQ(before.as<link::Stats>()->stops, 0u);
  for (int i = 0; i < 3; ++i) tracer->count_stop();
  EXPECT_EQ(ask(link::GetStats{}, 2).as<link::Stats>()->stops, 3u);
}

TEST_F(CommandsTest, ANewProxyIsForAServiceThatIsThere) {
  const auto refused = [](const link::Message& answer) {
    return answer.as<link::Failed>() &&
           answer.as<link::Failed>()->why.find("no such hidden service") != std::string::npos;
  };
  EXPECT_TRUE(refused(ask(link::NewProxy{0}, 1)));
  const int fds[link::kMostFds] = {0, 0, 0, 0};
  ASSERT_TRUE(link::send(ours.get(), link::NewProxy{1}, 2, fds));
  EXPECT_TRUE(refused(*link::receive(ours.get(), 10000)));
}

TEST_F(CommandsTest, NonsenseIsPassedOver) {
  ASSERT_EQ(::send(ours.get(), "nonsense", 8, 0), 8);
  EXPECT_TRUE(ask(link::Ping{}, 3).as<link::Done>());
}

}  // namespace
}  // namespace oboro::tracer
