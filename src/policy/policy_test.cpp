#include "policy/policy.h"

#include <gtest/gtest.h>

namespace oboro::policy {
namespace {

constexpr Policy kAlert{Verdict::alert}, kDeny{Verdict::deny};
constexpr Situation kComplete{true}, kIncomplete{false};

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
      {kDeny, kIncomplete, Channel::remote, 0, Verdict::deny, Reason::incomplete},
      {kAlert, kComplete, Channel::untraced, 1, Verdict::alert, Reason::untraced},
      {kAlert, kIncomplete, Channel::untraced, 0, Verdict::allow, Reason::none},
      {kDeny, kComplete, Channel::untraced, 1, Verdict::deny, Reason::untraced},
      {kDeny, kIncomplete, Channel::untraced, 0, Verdict::allow, Reason::none},
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
  for (const Policy& policy : {kAlert, kDeny})
    for (const Situation situation : {kComplete, kIncomplete})
      for (uint8_t channel = 0; channel < static_cast<uint8_t>(Channel::count); ++channel)
        for (const uint64_t labels : {0, 1}) {
          const Flow one = flow(static_cast<Channel>(channel), labels);
          EXPECT_LE(decide(policy, situation, one).denies(), policy.may_deny(one.channel)) << int{channel};
        }
}

TEST(Policy, LabelsGoInsideTheGuest) {
  for (uint8_t channel = 0; channel < static_cast<uint8_t>(Channel::remote); ++channel)
    EXPECT_EQ(decide(kDeny, kIncomplete, flow(static_cast<Channel>(channel), 1)).verdict, Verdict::allow);
}

}  // namespace
}  // namespace oboro::policy
