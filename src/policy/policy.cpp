#include "policy/policy.h"

namespace oboro::policy {
namespace {

constexpr int32_t kNotPermitted = 1;  // EPERM

Decision deny(Reason reason) { return {Verdict::deny, reason, kNotPermitted}; }

}  // namespace

Reaction Policy::reaction(Trouble trouble) const {
  return safety[static_cast<size_t>(trouble)].value_or(leak == Verdict::deny ? Reaction::deny : Reaction::report);
}

bool Policy::may_refuse_all() const {
  for (size_t i = 0; i < safety.size(); ++i) {
    const Reaction reaction = this->reaction(static_cast<Trouble>(i));
    if (reaction == Reaction::deny || reaction == Reaction::pause) return true;
  }
  return false;
}

bool Policy::may_deny(Channel channel) const {
  return (channel == Channel::remote || channel == Channel::untraced) && (leak == Verdict::deny || may_refuse_all());
}

Decision decide(const Policy& policy, const Situation& situation, const Flow& flow) {
  switch (flow.channel) {
    case Channel::remote:
      if (flow.labels && policy.leak == Verdict::deny) return deny(Reason::leak);
      // Any sender may hold data whose labels are not recorded.
      if (!situation.vouched_for && policy.may_refuse_all()) return deny(Reason::unvouched);
      return flow.labels ? Decision{Verdict::alert, Reason::leak} : Decision{};
    case Channel::untraced:
      if (!flow.labels) return {};
      if (policy.leak == Verdict::deny) return deny(Reason::untraced);
      if (!situation.vouched_for && policy.may_refuse_all()) return deny(Reason::unvouched);
      return {Verdict::alert, Reason::untraced};
    default:
      return {};  // labels go with the data
  }
}

}  // namespace oboro::policy
