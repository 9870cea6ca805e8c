#include "supervisor/loop.h"

#include <gtest/gtest.h>
#include <optional>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace oboro::supervisor {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kNow{0}, kMost{20000};

class LoopTest : public testing::Test {
 protected:
  void SetUp() override {
    Result<Loop> made = Loop::create();
    ASSERT_TRUE(made);
    loop.emplace(std::move(*made));
    for (auto& [reads, writes] : pipes) {
      int ends[2];
      ASSERT_EQ(pipe(ends), 0);
      reads.reset(ends[0]);
      writes.reset(ends[1]);
    }
  }
  Loop::Watch watch(size_t i, std::function<void()> handler) {
    Result<Loop::Watch> made = loop->readable(pipes[i].first.get(), std::move(handler));
    EXPECT_TRUE(made);
    return std::move(*made);
  }
  void put(size_t i) { ASSERT_EQ(write(pipes[i].second.get(), "x", 1), 1); }
  void take(size_t i) {
    char byte;
    ASSERT_EQ(read(pipes[i].first.get(), &byte, 1), 1);
  }
  size_t turn(milliseconds most = kNow) {
    const Result<size_t> done = loop->turn(most);
    EXPECT_TRUE(done);
    return done ? *done : 0;
  }
  std::optional<Loop> loop;
  std::pair<UniqueFd, UniqueFd> pipes[2];
};

TEST_F(LoopTest, WhatCanBeReadIsHandledInEachTurnAndNothingElse) {
  int first = 0, second = 0;
  const Loop::Watch one = watch(0, [&] { ++first; }), other = watch(1, [&] { ++second; });
  EXPECT_EQ(turn(), 0u);
  put(0);
  EXPECT_EQ(turn(), 1u);
  EXPECT_EQ(turn(), 1u) << "it is still there";
  take(0);
  EXPECT_EQ(turn(), 0u);
  pipes[1].second.reset();
  EXPECT_EQ(turn(), 1u) << "an end can be read as well";
  EXPECT_EQ(first, 2);
  EXPECT_EQ(second, 1);
}

TEST_F(LoopTest, AHandlerMayDropItselfAndOthersOfTheSameTurn) {
  Loop::Watch one, other;
  int calls = 0;
  const auto handler = [&] {
    ++calls;
    one.drop();
    other.drop();
  };
  one = watch(0, handler);
  other = watch(1, handler);
  put(0);
  put(1);
  EXPECT_EQ(turn(), 1u);
  EXPECT_EQ(turn(), 0u);
  EXPECT_EQ(calls, 1);
}

TEST_F(LoopTest, AHandlerMayAddAnother) {
  Loop::Watch one, other;
  int calls = 0;
  one = watch(0, [&] {
    take(0);
    other = watch(1, [&] { ++calls; });
  });
  put(0);
  put(1);
  turn();
  turn();
  EXPECT_EQ(calls, 1);
}

TEST_F(LoopTest, ATimerGoesOffOnceInTheOrderOfTheirTimes) {
  std::vector<int> order;
  const auto at = [&](int ms) {
    Result<Loop::Watch> made = loop->after(milliseconds(ms), [&order, ms] { order.push_back(ms); });
    EXPECT_TRUE(made);
    return std::move(*made);
  };
  const Loop::Watch late = at(60), now = at(0), never = at(3600000);
  { const Loop::Watch dropped = at(1); }
  while (order.size() < 2) ASSERT_EQ(turn(kMost), 1u);
  EXPECT_EQ(order, (std::vector<int>{0, 60}));
  EXPECT_EQ(turn(milliseconds(20)), 0u) << "once";
}

TEST_F(LoopTest, SignalsComeAsWhatTheyAre) {
  std::vector<int> seen;
  const Result<Loop::Watch> watch = loop->signals({SIGUSR1, SIGUSR2}, [&](int signal) { seen.push_back(signal); });
  ASSERT_TRUE(watch);
  EXPECT_EQ(turn(), 0u);
  kill(getpid(), SIGUSR2);
  EXPECT_EQ(turn(kMost), 1u);
  EXPECT_EQ(seen, std::vector<int>{SIGUSR2});
}

TEST_F(LoopTest, TheEndOfAProcessIsADescriptors) {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  int ended = 0;
  const Result<Loop::Watch> watch = loop->readable(pidfd.get(), [&] { ++ended; });
  ASSERT_TRUE(watch);
  EXPECT_EQ(turn(), 0u);
  kill(child, SIGKILL);
  EXPECT_EQ(turn(kMost), 1u);
  EXPECT_EQ(ended, 1);
  waitpid(child, nullptr, 0);
}

TEST_F(LoopTest, RunsUntilItIsStoppedAndIsOutlivedByWatches) {
  int calls = 0;
  Loop::Watch watched = watch(0, [&] {
    if (++calls == 3) loop->stop();
  });
  put(0);
  EXPECT_TRUE(loop->run());
  EXPECT_EQ(calls, 3);
  loop.reset();
  watched.drop();
}

}  // namespace
}  // namespace oboro::supervisor
