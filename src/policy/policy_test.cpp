#include "policy/policy.h"

#include <gtest/gtest.h>

namespace oboro::policy {
namespace {

constexpr Policy kAlert{Verdict::alert}, kDeny{Verdict::deny};
constexpr Situation kComplete{true}, kIncomplete{false};

// Leaks are reported, and one trouble has a reaction of its own.
constexpr Policy cautious(Trouble trouble, Reaction reaction) {
  Policy policy{Verdict::alert};
  policy.on(trouble) = reaction;
  return policy;
}
constexpr Policy kCautious = cautious(Trouble::journal, Reaction::pause);
constexpr Policy careless() {
  Policy policy{Verdict::deny};
  for (auto& reaction : policy.safety) reaction = Reaction::report;
  return policy;
}
constexpr Policy kCareless = careless();

Flow flow(Channel channel, uint64_t labels) {
  return {0, 100, {labels::CarrierKind::process, 100}, {}, labels, channel};
}

struct Row {
  Policy policy;
  Situation situation;
  Channel channel;
  uint64_t labels;
  Verdict verdict;
  Reason reason;
};

TEST(Policy, Decides) {
  const Row rows[] = {
      {kAlert, kComplete, Channel::remote, 1, Verdict::alert, Reason::leak},
      {kAlert, kIncomplete, Channel::remote, 1, Verdict::alert, Reason::leak},
      {kAlert, kComplete, Channel::remote, 0, Verdict::allow, Reason::none},
      {kAlert, kIncomplete, Channel::remote, 0, Verdict::allow, Reason::none},
      {kDeny, kComplete, Channel::remote, 1, Verdict::deny, Reason::leak},
      {kDeny, kIncomplete, Channel::remote, 1, Verdict::deny, Reason::leak},
      {kDeny, kComplete, Channel::remote, 0, Verdict::allow, Reason::none},
      {kDeny, kIncomplete, Channel::remote, 0, Verdict::deny, Reason::unvouched},
      {kAlert, kComplete, Channel::untraced, 1, Verdict::alert, Reason::untraced},
      {kAlert, kIncomplete, Channel::untraced, 0, Verdict::allow, Reason::none},
      {kDeny, kComplete, Channel::untraced, 1, Verdict::deny, Reason::untraced},
      {kDeny, kIncomplete, Channel::untraced, 0, Verdict::allow, Reason::none},
      {kCautious, kComplete, Channel::remote, 1, Verdict::alert, Reason::leak},
      {kCautious, kIncomplete, Channel::remote, 1, Verdict::deny, Reason::unvouched},
      {kCautious, kIncomplete, Channel::remote, 0, Verdict::deny, Reason::unvouched},
      {kCautious, kComplete, Channel::untraced, 1, Verdict::alert, Reason::untraced},
      {kCautious, kIncomplete, Channel::untraced, 1, Verdict::deny, Reason::unvouched},
      {kCautious, kIncomplete, Channel::untraced, 0, Verdict::allow, Reason::none},
      {kCareless, kIncomplete, Channel::remote, 0, Verdict::allow, Reason::none},
      {kCareless, kIncomplete, Channel::remote, 1, Verdict::deny, Reason::leak},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(&row - rows);
    const Decision decision = decide(row.policy, row.situation, flow(row.channel, row.labels));
    EXPECT_EQ(decision.verdict, row.verdict);
    EXPECT_EQ(decision.reason, row.reason);
    EXPECT_EQ(decision.error, row.verdict == Verdict::deny ? 1 : 0) << "EPERM";
  }
}

// An engine is made able to refuse only the channels of may_deny(): no decision may go beyond these.
TEST(Policy, NothingIsDeniedThatMayNotBe) {
  for (const Policy& policy : {kAlert, kDeny, kCareless, kCautious, cautious(Trouble::incomplete, Reaction::deny),
                               cautious(Trouble::supervisor_loss, Reaction::kill)})
    for (const Situation situation : {kComplete, kIncomplete})
      for (uint8_t channel = 0; channel < static_cast<uint8_t>(Channel::count); ++channel)
        for (const uint64_t labels : {0, 1}) {
          const Flow one = flow(static_cast<Channel>(channel), labels);
          EXPECT_LE(decide(policy, situation, one).denies(), policy.may_deny(one.channel)) << int{channel};
        }
}

TEST(Policy, WhatIsNotSaidOfTroubleFollowsFromWhatBecomesOfLeaks) {
  for (uint8_t trouble = 0; trouble < static_cast<uint8_t>(Trouble::count); ++trouble) {
    EXPECT_EQ(kAlert.reaction(static_cast<Trouble>(trouble)), Reaction::report);
    EXPECT_EQ(kDeny.reaction(static_cast<Trouble>(trouble)), Reaction::deny);
  }
  EXPECT_FALSE(kAlert.may_refuse_all());
  EXPECT_TRUE(kDeny.may_refuse_all());
  EXPECT_FALSE(kCareless.may_refuse_all());
  EXPECT_TRUE(kCautious.may_refuse_all());
  EXPECT_FALSE(cautious(Trouble::supervisor_loss, Reaction::kill).may_refuse_all());
  EXPECT_TRUE(kCautious.may_deny(Channel::remote)) << "an engine has to be able to refuse";
}

TEST(Policy, LabelsGoInsideTheGuest) {
  for (uint8_t channel = 0; channel < static_cast<uint8_t>(Channel::remote); ++channel)
    EXPECT_EQ(decide(kDeny, kIncomplete, flow(static_cast<Channel>(channel), 1)).verdict, Verdict::allow);
}

}  // namespace
}  // namespace oboro::policy
