#include "steer/expectation.h"

#include <cstdint>
#include <gtest/gtest.h>

namespace oboro::steer {
namespace {

// Waits as a thread does: a sleep of the expected time, then others of an eighth of the time waited. Returns how late
// it was.
uint64_t wait(Expectation& expectation, uint64_t takes) {
  constexpr uint64_t kShortest = 20'000;
  uint64_t waited = 0, looked = 0;
  for (unsigned round = 0; waited < takes; ++round) {
    looked = waited;
    waited += std::max(kShortest, round == 0 ? expectation.ns() : waited / 8);
    if (round == 0 && waited >= takes) {
      expectation.was_there();
      return waited - takes;
    }
  }
  expectation.was_not_there(looked);
  return waited - takes;
}

TEST(Expectation, ComesToWhatCallsTake) {
  Expectation expectation;
  for (const uint64_t takes : {1'500'000, 200'000, 400'000}) {
    for (int i = 0; i < 60; ++i) (void)wait(expectation, takes);
    uint64_t late = 0;
    for (int i = 0; i < 100; ++i) late += wait(expectation, takes);
    EXPECT_GT(expectation.ns(), takes / 2) << takes;
    EXPECT_LT(late / 100, takes / 4) << takes;
  }
}

TEST(Expectation, OneThatTakesLongDoesNotMakeTheOthersLate) {
  Expectation expectation;
  for (int i = 0; i < 60; ++i) (void)wait(expectation, 100'000);
  const uint64_t before = expectation.ns();
  (void)wait(expectation, 3'000'000'000);
  EXPECT_LE(expectation.ns(), before + before / 4 + 4'000);
}

TEST(Expectation, HasAnEnd) {
  Expectation expectation;
  for (int i = 0; i < 1000; ++i) expectation.was_not_there(UINT64_MAX);
  EXPECT_EQ(expectation.ns(), Expectation::kMost);
  for (int i = 0; i < 1000; ++i) expectation.was_not_there(0);
  EXPECT_LT(expectation.ns(), 10u);
}

}  // namespace
}  // namespace oboro::steer
