#include "proxy/network_policy.h"

#include <algorithm>
#include <array>
#include <netinet/in.h>
#include <sys/socket.h>

#include "proxy/bytes.h"

namespace oboro::proxy {
namespace {

constexpr size_t kMostOthers = 1024;
// Where clouds tell a machine its secrets, by IPv6 (fd00:ec2::254); by IPv4 that is a link-local address.
constexpr std::array<uint8_t, 16> kMetadata = {0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54};

}  // namespace

bool is_never_reached(std::span<const std::byte> address) {
  const auto octet = [&](size_t i) { return static_cast<uint8_t>(address[i]); };
  if (address.size() == sizeof(in_addr))
    return octet(0) == 0 || octet(0) == 127 || octet(0) >= 224 || (octet(0) == 169 && octet(1) == 254);
  if (address.size() != sizeof(in6_addr)) return true;
  const bool low = std::all_of(address.begin(), address.begin() + 12, [](std::byte b) { return b == std::byte{}; });
  const bool link_local = octet(0) == 0xfe && (octet(1) & 0xc0) == 0x80;
  const auto metadata = std::as_bytes(std::span(kMetadata));
  // ::, ::1, IPv4-compatible; fe80::/10; multicast
  return low || link_local || octet(0) == 0xff || std::equal(metadata.begin(), metadata.end(), address.begin());
}

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

bool Destinations::allows(const Endpoint& to, Protocol by) {
  if (!policy_.remote || is_never_reached(to.bytes) || !is_named(to, by)) return false;
  if (std::find(policy_.own.begin(), policy_.own.end(), to.bytes) != policy_.own.end()) return false;
  const auto now = Clock::now();
  if (now - since_ >= kValid || others_.size() >= kMostOthers) {
    others_.clear();
    since_ = now;
  }
  if (others_.count(to.bytes)) return true;
  if (policy_.is_own(to.bytes)) return false;
  others_.insert(to.bytes);
  return true;
}

}  // namespace oboro::proxy
