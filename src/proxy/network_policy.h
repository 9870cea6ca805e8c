// The destinations of a hidden service's sockets: other hosts, or some of them; never this one.
//
// Threads: one for each Destinations.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "proxy/destination.h"
#include "proxy/own_addresses.h"

namespace oboro::proxy {

// What the configuration lets a service do with the network.
struct NetworkPolicy {
  bool remote = false;           // to other hosts
  std::vector<uint16_t> listen;  // ports that it may bind
  // The only destinations on other hosts; nothing: all. Names are not resolved here, and lead nowhere.
  std::optional<std::vector<Destination>> to;
  std::vector<std::vector<std::byte>> own;  // addresses of this host (4 or 16 bytes), and others that are denied
  // Whether an address is one of this host's now. Tests use another function, because their other hosts are this one.
  bool (*is_own)(std::span<const std::byte> address) = is_own_address;
};

// An end of IPv4 or IPv6: address (4 or 16 bytes; an IPv4-mapped IPv6 address counts as IPv4) and port.
struct Endpoint {
  std::vector<std::byte> bytes;
  uint16_t port = 0;
};
// The endpoint of a socket address, which may be anything. Nothing: it is of another family, or too short.
std::optional<Endpoint> endpoint_of(std::span<const std::byte> address);

class Destinations {
 public:
  // An address that was no address of this host is asked about again after this time.
  static constexpr std::chrono::milliseconds kValid{1000};

  explicit Destinations(NetworkPolicy policy) : policy_(std::move(policy)) {}

  bool any() const { return policy_.remote || !policy_.listen.empty(); }
  bool may_bind(uint16_t port) const;
  // Whether a service may send to, or connect to, this endpoint at this moment.
  bool allows(const Endpoint& to, Protocol by);

 private:
  using Clock = std::chrono::steady_clock;
  // At this moment, or since it was asked last.
  bool is_this_host(const std::vector<std::byte>& address);
  bool is_named(const Endpoint& to, Protocol by) const;

  NetworkPolicy policy_;
  std::set<std::vector<std::byte>> others_;  // that were asked about
  Clock::time_point since_{};
};

}  // namespace oboro::proxy
