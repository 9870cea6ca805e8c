// Where a hidden service may go, in the form of `to` in the configuration, and of oboro-proxy's --to:
//
//   203.0.113.0/24:6514/tcp       an IPv4 network; 203.0.113.7:6514/tcp is one address
//   [2001:db8::/32]:53/udp        an IPv6 network
//   log.example.org:443-450/tcp   a name, and a range of ports
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace oboro::proxy {

enum class Protocol : uint8_t { tcp, udp };

std::string address_text(std::span<const std::byte> address);  // of 4 or 16 bytes

struct Network {
  std::vector<std::byte> base;  // an address of 4 or 16 bytes, zero beyond the prefix
  unsigned prefix = 0;          // bits

  bool is_one_address() const { return prefix == base.size() * 8; }
  bool covers(const Network& other) const { return other.prefix >= prefix && holds(other.base); }
  // An address of the other family is in no network of this one: ::/0 holds no IPv4 address.
  bool holds(std::span<const std::byte> address) const;
};

struct Destination {
  std::string name;  // of a host; empty: `network` counts
  Network network;
  uint16_t first_port = 0, last_port = 0;
  Protocol protocol = Protocol::tcp;

  // False for a name.
  bool holds(std::span<const std::byte> address, uint16_t port, Protocol by) const;
  std::string text() const;  // parse_destination() takes it
};

// "203.0.113.0/24", "2001:db8::1". Errors: invalid.
Result<Network> parse_network(std::string_view text);
// Errors: invalid, with `text`, what is wrong with it, and what was expected.
Result<Destination> parse_destination(std::string_view text);

}  // namespace oboro::proxy
