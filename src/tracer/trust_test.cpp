#include "tracer/trust.h"

#include <atomic>
#include <gtest/gtest.h>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace oboro::tracer {
namespace {

using policy::Reaction;
using policy::Trouble;

class TrustTest : public testing::Test {
 protected:
  // Gets what an engine's filter would be told.
  struct Told final : labels::Marks {
    void add(labels::Carrier) override {}
    void remove(labels::Carrier) override {}
    void clear() override {}
    void add_senders() override { senders = true, ++changes; }
    void remove_senders() override { senders = false, ++changes; }
    bool senders = false;
    int changes = 0;
  };
  Trust& make(Reaction incomplete, Reaction full_table = Reaction::report, Reaction journal = Reaction::report) {
    policy::Policy policy;
    policy.on(Trouble::incomplete) = incomplete;
    policy.on(Trouble::full_table) = full_table;
    policy.on(Trouble::journal) = journal;
    carriers.set_marks(&told);
    return trust.emplace(policy, carriers);
  }
  std::string refused() const {
    const char* why = carriers.sends_refused();
    EXPECT_EQ(told.senders, why != nullptr);
    return why ? why : "";
  }
  labels::Carriers carriers{64, 1};
  Told told;
  std::optional<Trust> trust;
};

TEST_F(TrustTest, EachTroubleHasItsOwnReaction) {
  Trust& t = make(Reaction::report, Reaction::deny);
  EXPECT_FALSE(t.doubt(Trouble::incomplete, "splice"));
  EXPECT_EQ(refused(), "");
  EXPECT_FALSE(t.doubt(Trouble::full_table, labels::kTableFull));
  EXPECT_EQ(refused(), labels::kTableFull);
  EXPECT_FALSE(t.doubt(Trouble::full_table, labels::kTableFull));
  EXPECT_EQ(told.changes, 1) << "told once";
}

TEST_F(TrustTest, WhereTheMachineIsToStandStillThatIsToldOnce) {
  Trust& t = make(Reaction::pause, Reaction::pause);
  EXPECT_TRUE(t.doubt(Trouble::incomplete, "one"));
  EXPECT_EQ(refused(), "one") << "and nothing leaves until then";
  EXPECT_FALSE(t.doubt(Trouble::incomplete, "one"));
  EXPECT_FALSE(t.doubt(Trouble::incomplete, "another"));
  EXPECT_TRUE(t.doubt(Trouble::full_table, labels::kTableFull)) << "a trouble of its own";
  t.go_on();
  EXPECT_FALSE(t.doubt(Trouble::incomplete, "one")) << "that is known";
  EXPECT_TRUE(t.doubt(Trouble::incomplete, "a third"));
}

TEST_F(TrustTest, WhatIsMendedRefusesNothingAndWhatElseStandsDoes) {
  Trust& t = make(Reaction::deny, Reaction::report, Reaction::deny);
  t.doubt(Trouble::journal, labels::kNoJournal);
  t.doubt(Trouble::incomplete, "splice");
  EXPECT_EQ(refused(), labels::kNoJournal) << "the first reason";
  t.mended(Trouble::journal);
  EXPECT_EQ(refused(), "splice");
  t.doubt(Trouble::journal, labels::kNoJournal);
  t.mended(Trouble::journal);
  EXPECT_EQ(refused(), "splice");
  t.go_on();
  EXPECT_EQ(refused(), "");
  t.doubt(Trouble::journal, labels::kNoJournal);
  EXPECT_EQ(refused(), labels::kNoJournal) << "each time anew";
  t.mended(Trouble::journal);
  EXPECT_EQ(refused(), "");
}

TEST_F(TrustTest, GoingOnHoldsForWhatWasToldAndForNothingElse) {
  Trust& t = make(Reaction::deny);
  for (const char* why : {"one", "two", kLostRecords}) t.doubt(Trouble::incomplete, why);
  t.go_on();
  EXPECT_EQ(refused(), "");
  t.doubt(Trouble::incomplete, "two");
  EXPECT_EQ(refused(), "") << "the operator knows";
  t.doubt(Trouble::incomplete, "three");
  EXPECT_EQ(refused(), "three");
  t.go_on();
  t.doubt(Trouble::incomplete, kLostRecords);
  EXPECT_EQ(refused(), kLostRecords) << "more of them";
}

TEST_F(TrustTest, MoreReasonsThanThereIsRoomForRefuseAllTheSame) {
  Trust& t = make(Reaction::deny);
  static const std::string kMany(200, 'x');
  for (size_t i = 0; i < 100; ++i) t.doubt(Trouble::incomplete, kMany.c_str() + i);
  t.go_on();
  EXPECT_EQ(refused(), "");
  t.doubt(Trouble::incomplete, kMany.c_str() + 99);
  EXPECT_NE(refused(), "");
}

// One thread sees trouble while another one mends other trouble. The first trouble must not be forgotten.
TEST_F(TrustTest, NoTroubleIsLostBetweenTwoThreads) {
  constexpr int kRounds = 20000;
  Trust& t = make(Reaction::deny, Reaction::report, Reaction::deny);
  std::atomic<int> begun{0}, done{0};
  const auto wait_for = [](const std::atomic<int>& what, int round) {
    while (what < round) std::this_thread::yield();
  };
  std::thread other([&] {
    for (int round = 1; round <= kRounds; ++round) {
      wait_for(begun, round);
      t.doubt(Trouble::incomplete, kLostRecords);  // which is new each time
      done = round;
    }
  });
  int lost = 0;
  for (int round = 1; round <= kRounds; ++round) {
    t.doubt(Trouble::journal, labels::kNoJournal);
    begun = round;
    for (int i = round % 64; i > 0; --i)
      std::atomic_signal_fence(std::memory_order_seq_cst);  // another moment each time
    t.mended(Trouble::journal);
    wait_for(done, round);
    lost += carriers.sends_refused() != kLostRecords;
    t.go_on();
  }
  other.join();
  EXPECT_EQ(lost, 0);
}

}  // namespace
}  // namespace oboro::tracer
