#include "proxy/destination.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <fmt/format.h>
#include <netinet/in.h>
#include <utility>

#include "base/number.h"

namespace oboro::proxy {
namespace {

constexpr size_t kLongestName = 253, kLongestLabel = 63;  // RFC 1035
constexpr size_t kLongest = kLongestName + 20;
constexpr unsigned kBitsOfMapped = 96;  // ::ffff:0:0/96

// Numbers must not begin with a zero: 010 is ten to some programs, and eight to others.
template <typename T>
bool plain_number(std::string_view text, T least, T most, T& out) {
  if (text.size() > 1 && text[0] == '0') return false;
  T value{};
  if (!parse_number(text, value) || value < least || value > most) return false;
  out = value;
  return true;
}

std::vector<std::byte> parse_address(int family, std::string_view text) {
  std::array<std::byte, sizeof(in6_addr)> bytes{};
  if (inet_pton(family, std::string(text).c_str(), bytes.data()) != 1) return {};
  const size_t size = family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
  return {bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size)};
}

// The bits of the byte at `i` that belong to the first `prefix` bits of all.
std::byte mask(size_t i, unsigned prefix) {
  const size_t bits = std::clamp<size_t>(prefix, i * 8, i * 8 + 8) - i * 8;
  return static_cast<std::byte>(0xff00U >> bits);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// A resolver takes a name that ends in a number for an address: 10.1 is 10.0.0.1 to it, and 0x7f000001 is this host.
bool is_host_name(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > kLongestName) return false;
  std::string_view label;
  while (!text.empty()) {
    const size_t end = std::min(text.find('.'), text.size());
    label = text.substr(0, end);
    if (label.empty() || label.size() > kLongestLabel || label.front() == '-' || label.back() == '-') return false;
    for (const char c : label)
      if (!is_letter(c) && !is_digit(c) && c != '-' && c != '_') return false;
    if (end + 1 == text.size()) return false;  // a second dot at the end
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return !std::all_of(label.begin(), label.end(), is_digit) && !label.starts_with("0x") && !label.starts_with("0X");
}

struct Wrong {
  std::string why;  // empty: it is not
};

Wrong network_of(int family, std::string_view text, Network& out) {
  const size_t slash = text.find('/');
  const std::string_view address = text.substr(0, slash);
  out.base = parse_address(family, address);
  if (out.base.empty()) return {fmt::format("\"{}\" is no {} address", address, family == AF_INET ? "IPv4" : "IPv6")};
  out.prefix = static_cast<unsigned>(out.base.size()) * 8;
  if (slash != std::string_view::npos && !plain_number(text.substr(slash + 1), 0U, out.prefix, out.prefix))
    return {fmt::format("\"{}\" is no number of bits from 0 to {}", text.substr(slash + 1), out.prefix)};
  const Network mapped{parse_address(AF_INET6, "::ffff:0:0"), kBitsOfMapped};
  if (out.prefix >= kBitsOfMapped && mapped.holds(out.base))
    return {fmt::format("\"{}\" is an IPv4 address, and is to be written as one", address)};
  std::vector<std::byte> base = out.base;
  for (size_t i = 0; i < base.size(); ++i) base[i] &= mask(i, out.prefix);
  if (base != out.base)
    return {fmt::format("{} has bits beyond its first {}: the network is {}/{}", address, out.prefix,
                        address_text(base), out.prefix)};
  return {};
}

Wrong parse_host(std::string_view text, Destination& out) {
  if (text.empty()) return {"there is neither an address nor a name"};
  if (text.front() == '[') {
    if (text.back() != ']') return {"the bracket before the IPv6 address is not closed before the port"};
    return network_of(AF_INET6, text.substr(1, text.size() - 2), out.network);
  }
  if (text.find(':') != std::string_view::npos) return {"an IPv6 address stands in brackets, and has one port"};
  if (text.find('/') != std::string_view::npos || !parse_address(AF_INET, text).empty())
    return network_of(AF_INET, text, out.network);
  if (!is_host_name(text)) return {fmt::format("\"{}\" is neither an IPv4 address nor the name of a host", text)};
  out.name = text;
  return {};
}

Wrong parse_all(std::string_view text, Destination& out) {
  if (text.size() > kLongest) return {"it is too long"};
  const size_t slash = text.rfind('/');
  const std::string_view protocol = slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
  if (protocol != "tcp" && protocol != "udp") return {"it does not end in /tcp or /udp"};
  out.protocol = protocol == "tcp" ? Protocol::tcp : Protocol::udp;
  text = text.substr(0, slash);
  const size_t colon = text.rfind(':');
  // A colon within brackets is a part of an address.
  if (colon == std::string_view::npos || text.find(']', colon) != std::string_view::npos) return {"there is no port"};
  const std::string_view ports = text.substr(colon + 1);
  const size_t dash = std::min(ports.find('-'), ports.size());
  const bool range = dash < ports.size();
  if (!plain_number<uint16_t>(ports.substr(0, dash), 1, UINT16_MAX, out.first_port) ||
      !plain_number<uint16_t>(range ? ports.substr(dash + 1) : ports, 1, UINT16_MAX, out.last_port))
    return {fmt::format("\"{}\" is neither a port from 1 to 65535 nor a range of them", ports)};
  if (out.first_port > out.last_port) return {fmt::format("the range of ports {} ends before it begins", ports)};
  return parse_host(text.substr(0, colon), out);
}

}  // namespace

std::string address_text(std::span<const std::byte> address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const bool four = address.size() == sizeof(in_addr);
  if (!four && address.size() != sizeof(in6_addr)) return {};
  return inet_ntop(four ? AF_INET : AF_INET6, address.data(), text.data(), text.size()) ? text.data() : "";
}

bool Network::holds(std::span<const std::byte> address) const {
  if (address.size() != base.size()) return false;
  for (size_t i = 0; i < base.size(); ++i)
    if ((address[i] & mask(i, prefix)) != base[i]) return false;
  return true;
}

bool Destination::holds(std::span<const std::byte> address, uint16_t port, Protocol by) const {
  return name.empty() && by == protocol && port >= first_port && port <= last_port && network.holds(address);
}

std::string Destination::text() const {
  std::string host = name;
  if (name.empty()) {
    host = address_text(network.base);
    if (!network.is_one_address()) host += fmt::format("/{}", network.prefix);
    if (network.base.size() == sizeof(in6_addr)) host = fmt::format("[{}]", host);
  }
  const std::string last = last_port == first_port ? "" : fmt::format("-{}", last_port);
  return fmt::format("{}:{}{}/{}", host, first_port, last, protocol == Protocol::tcp ? "tcp" : "udp");
}

Result<Network> parse_network(std::string_view text) {
  Network out;
  const int family = text.find(':') == std::string_view::npos ? AF_INET : AF_INET6;
  if (Wrong wrong = network_of(family, text, out); !wrong.why.empty())
    return Error{Errc::invalid, std::move(wrong.why)};
  return out;
}

Result<Destination> parse_destination(std::string_view text) {
  Destination out;
  if (const Wrong wrong = parse_all(text, out); !wrong.why.empty())
    return Error{Errc::invalid,
                 fmt::format("\"{}\": {} (expected as in 203.0.113.0/24:6514/tcp, [2001:db8::/32]:53/udp or "
                             "log.example.org:443-450/tcp)",
                             text.substr(0, kLongest), wrong.why)};
  return out;
}

}  // namespace oboro::proxy
