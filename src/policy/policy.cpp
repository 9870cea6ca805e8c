#include "policy/policy.h"

namespace oboro::policy {
namespace {

constexpr int32_t kNotPermitted = 1;  // EPERM

Decision deny(Reason reason) { return {Verdict::deny, reason, kNotPermitted}; }

}  // namespace

bool Policy::may_deny(Channel channel) const {
  return leak == Verdict::deny && (channel == Channel::remote || channel == Channel::untraced);
}

Decision decide(const Policy& policy, const Situation& situation, const Flow& flow) {
  switch (flow.channel) {
    case Channel::remote:
      if (flow.labels)
        return policy.may_deny(flow.channel) ? deny(Reason::leak) : Decision{Verdict::alert, Reason::leak};
      // Any sender may hold data whose labels are not recorded.
      if (!situation.complete && policy.may_deny(flow.channel)) return deny(Reason::incomplete);
      return {};
    case Channel::untraced:
      if (!flow.labels) return {};
      return policy.may_deny(flow.channel) ? deny(Reason::untraced) : Decision{Verdict::alert, Reason::untraced};
    default:
      return {};  // labels go with the data
  }
}

}  // namespace oboro::policy
