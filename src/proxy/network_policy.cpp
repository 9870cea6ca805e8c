#include "proxy/network_policy.h"

#include <algorithm>
#include <netinet/in.h>
#include <sys/socket.h>

#include "proxy/bytes.h"
#include "proxy/never_reached.h"

namespace oboro::proxy {
namespace {

constexpr size_t kMostOthers = 1024;

}  // namespace

std::optional<Endpoint> endpoint_of(std::span<const std::byte> address) {
  sa_family_t family = AF_UNSPEC;
  Endpoint endpoint;
  if (!read_as(address, family)) return std::nullopt;
  const auto take = [&](const auto& in, in_port_t port) {
    const auto bytes = std::as_bytes(std::span(&in, 1));
    endpoint.bytes.assign(bytes.begin(), bytes.end());
    endpoint.port = ntohs(port);
  };
  if (sockaddr_in in{}; family == AF_INET && read_as(address, in)) {
    take(in.sin_addr, in.sin_port);
    return endpoint;
  }
  if (sockaddr_in6 in{}; family == AF_INET6 && read_as(address, in)) {
    take(in.sin6_addr, in.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) endpoint.bytes.erase(endpoint.bytes.begin(), endpoint.bytes.begin() + 12);
    return endpoint;
  }
  return std::nullopt;
}

bool Destinations::may_bind(uint16_t port) const {
  return std::find(policy_.listen.begin(), policy_.listen.end(), port) != policy_.listen.end();
}

bool Destinations::is_named(const Endpoint& to, Protocol by) const {
  return !policy_.to || std::any_of(policy_.to->begin(), policy_.to->end(),
                                    [&](const Destination& one) { return one.holds(to.bytes, to.port, by); });
}

bool Destinations::is_this_host(const std::vector<std::byte>& address) {
  if (std::find(policy_.own.begin(), policy_.own.end(), address) != policy_.own.end()) return true;
  if (others_.count(address)) return false;
  if (policy_.is_own(address)) return true;
  others_.insert(address);
  return false;
}

bool Destinations::allows(const Endpoint& to, Protocol by) {
  if (!policy_.remote || !never_reached(to.bytes).empty() || !is_named(to, by)) return false;
  const auto now = Clock::now();
  if (now - since_ >= kValid || others_.size() >= kMostOthers) {
    others_.clear();
    since_ = now;
  }
  if (is_this_host(to.bytes)) return false;
  const std::vector<std::byte> behind = translated(to.bytes);
  return behind.empty() || !is_this_host(behind);
}

}  // namespace oboro::proxy
