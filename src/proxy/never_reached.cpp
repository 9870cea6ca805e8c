#include "proxy/never_reached.h"

#include <algorithm>
#include <netinet/in.h>
#include <utility>

#include "proxy/destination.h"

namespace oboro::proxy {
namespace {

// The place of the IPv4 address in the addresses of a network.
struct Translated {
  const char* network;
  size_t at;
};
constexpr std::array<Translated, 4> kTranslated = {
    {{"64:ff9b::/96", 12}, {"64:ff9b:1::/48", 12}, {"2002::/16", 2}, {"::ffff:0:0:0/96", 12}}};

template <size_t kCount, typename Row>
std::vector<std::pair<Network, Row>> parsed(const std::array<Row, kCount>& rows) {
  std::vector<std::pair<Network, Row>> all;
  for (const Row& row : rows) all.emplace_back(std::move(*parse_network(row.network)), row);
  return all;
}

}  // namespace

std::string_view never_reached(std::span<const std::byte> address) {
  static const auto all = parsed(kNeverReached);
  if (address.size() != sizeof(in_addr) && address.size() != sizeof(in6_addr)) return "no address";
  for (const auto& [network, row] : all)
    if (network.holds(address)) return row.what;
  const std::vector<std::byte> four = translated(address);
  return four.empty() ? std::string_view() : never_reached(four);
}

std::vector<std::byte> translated(std::span<const std::byte> address) {
  static const auto all = parsed(kTranslated);
  for (const auto& [network, row] : all)
    if (network.holds(address)) {
      const auto four = address.subspan(row.at, sizeof(in_addr));
      return {four.begin(), four.end()};
    }
  return {};
}

}  // namespace oboro::proxy
