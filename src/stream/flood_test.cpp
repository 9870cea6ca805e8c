#include "stream/flood.h"

#include <gtest/gtest.h>

namespace oboro::stream {
namespace {

using event::Event;
using event::Kind;

constexpr uint64_t kSecond = 1'000'000'000;

class FloodTest : public ::testing::Test {
 protected:
  Flood make(uint64_t bytes, uint64_t events) {
    return Flood({bytes, events}, [this] { return now_; });
  }
  // How many events of this length may be written now.
  static uint64_t writes(Flood& flood, uint64_t length) {
    uint64_t count = 0;
    for (; flood.has_budget() && count < 1'000'000; ++count) flood.written(length);
    return count;
  }
  static Event event(Kind kind, uint64_t seq) {
    Event made;
    made.kind = kind;
    made.seq = seq;
    return made;
  }
  uint64_t now_ = 5 * kSecond;
};

TEST_F(FloodTest, AMinutesWorthAtOnceAndThenASecondsASecond) {
  Flood events = make(1 << 30, 100);
  EXPECT_EQ(writes(events, 10), 6000u);
  EXPECT_EQ(writes(events, 10), 0u);
  now_ += 2 * kSecond;
  EXPECT_EQ(writes(events, 10), 200u);
  now_ += 1000 * kSecond;
  EXPECT_EQ(writes(events, 10), 6000u);
  Flood bytes = make(1000, 1'000'000);
  EXPECT_EQ(writes(bytes, 100), 600u);
  now_ += kSecond;
  EXPECT_EQ(writes(bytes, 100), 10u);
}

TEST_F(FloodTest, WhatMustBeWrittenCountsButIsSoonForgotten) {
  Flood flood = make(1000, 1'000'000);
  flood.written(1'000'000'000);
  EXPECT_FALSE(flood.has_budget());
  now_ += Flood::kAtOnceSeconds * kSecond + 1;
  EXPECT_TRUE(flood.has_budget()) << "a minute's debt, however much it was";
}

TEST_F(FloodTest, ATooLongLineIsMadeUpFor) {
  Flood flood = make(1000, 1'000'000);
  EXPECT_EQ(writes(flood, 70'000), 1u);
  now_ += 9 * kSecond;
  EXPECT_FALSE(flood.has_budget());
  now_ += 2 * kSecond;
  EXPECT_TRUE(flood.has_budget());
}

TEST_F(FloodTest, WhatIsLeftOutIsToldWithItsCounts) {
  Flood flood = make(1000, 1000);
  EXPECT_FALSE(flood.missing());
  EXPECT_FALSE(flood.report(true));
  EXPECT_TRUE(flood.leave_out(event(Kind::renamed, 7), 100, Flood::Reason::rate));
  EXPECT_FALSE(flood.leave_out(event(Kind::renamed, 0), 100, Flood::Reason::rate)) << "the second one";
  EXPECT_FALSE(flood.leave_out(event(Kind::exec, 12), 50, Flood::Reason::rate));
  EXPECT_TRUE(flood.missing());
  now_ += Flood::kReportEverySeconds * kSecond - 1;
  EXPECT_FALSE(flood.report(false));
  now_ += 1;
  const auto told = flood.report(false);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->reason, "rate");
  EXPECT_EQ(told->count, 3u);
  EXPECT_EQ(told->bytes, 250u);
  EXPECT_EQ(told->kinds, "exec 1, renamed 2");
  EXPECT_EQ(told->first_seq, 7u);
  EXPECT_EQ(told->last_seq, 12u);
  EXPECT_EQ(told->ms, 10'000u);
  EXPECT_FALSE(flood.report(true)) << "once";
  EXPECT_TRUE(flood.missing()) << "that it is told does not bring it back";
  EXPECT_FALSE(flood.leave_out(event(Kind::renamed, 13), 100, Flood::Reason::space));
  flood.checkpoint();
  EXPECT_FALSE(flood.missing());
  EXPECT_TRUE(flood.leave_out(event(Kind::renamed, 14), 100, Flood::Reason::rate)) << "the journal has to say so anew";
  EXPECT_EQ(flood.report(true)->reason, "rate");
  EXPECT_EQ(flood.report(true)->reason, "space");
  EXPECT_FALSE(flood.report(true));
}

}  // namespace
}  // namespace oboro::stream
