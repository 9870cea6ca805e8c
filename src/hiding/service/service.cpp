#include "hiding/service/service.h"

#include <utility>

namespace oboro::hiding {

Result<void> Service::renew_proxy(proxy::Channel channel, UniqueFd alive) {
  const std::lock_guard lock(renewal_mutex_);
  const std::shared_ptr<ProxyClient> before = proxy();
  if (before->given_up()) return Error{Errc::invalid, "the service is not hidden any more"};
  if (before->lied())
    return Error{Errc::invalid,
                 "the last one gave answers that nobody had asked for, so somebody may have taken it over"};
  auto next = std::make_shared<ProxyClient>(std::move(channel), std::move(alive), before.get());
  proxy_.set(std::move(next));
  before->replaced();
  return {};
}

}  // namespace oboro::hiding
