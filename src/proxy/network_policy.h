// Where a hidden service's sockets may go: to other hosts, or to some of them; never to this one.
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
  // Of those, the only ones; nothing: to all. Names are not resolved here, and lead nowhere.
  std::optional<std::vector<Destination>> to;
  std::vector<std::vector<std::byte>> own;  // addresses of this host (4 or 16 bytes), and others that are denied
  // Whether an address is one of this host's now. Tests, whose other hosts are this one, have another.
  bool (*is_own)(std::span<const std::byte> address) = is_own_address;
};

// Of IPv4 or IPv6: address (4 or 16 bytes; an IPv4 address in IPv6's clothes is IPv4) and port.
struct Endpoint {
  std::vector<std::byte> bytes;
  uint16_t port = 0;
};
// Of a socket address, which may be anything. Nothing: it is of another family, or too short.
std::optional<Endpoint> endpoint_of(std::span<const std::byte> address);

class Destinations {
 public:
  // What was no address of this host is asked about again after this time.
  static constexpr std::chrono::milliseconds kValid{1000};

  explicit Destinations(NetworkPolicy policy) : policy_(std::move(policy)) {}

  bool any() const { return policy_.remote || !policy_.listen.empty(); }
  bool may_bind(uint16_t port) const;
  // Whether it may be sent to, or connected to, at this moment.
  bool allows(const Endpoint& to, Protocol by);

 private:
  using Clock = std::chrono::steady_clock;
  // At the moment, or since it was asked.
  bool is_this_host(const std::vector<std::byte>& address);
  bool is_named(const Endpoint& to, Protocol by) const;

  NetworkPolicy policy_;
  std::set<std::vector<std::byte>> others_;  // that were asked about
  Clock::time_point since_{};
};

}  // namespace oboro::proxy
