#include "supervisor/launch/destinations.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "proxy/network_policy.h"
#include "proxy/never_reached.h"

namespace oboro::supervisor {
namespace {

constexpr size_t kMostDestinations = 1024;

Error about(const link::HiddenService& service, Errc code, const std::string& what) {
  return {code, fmt::format("hidden service {}: \"to\": {}", service.name, what)};
}

// The addresses of a name that may be reached.
Result<Addresses> reachable(const link::HiddenService& service, const std::string& name, const Resolver& resolver) {
  Result<Addresses> found = resolver(name);
  if (!found) return about(service, found.error().code, found.error().message);
  std::erase_if(*found, [](const auto& address) { return !proxy::never_reached(address).empty(); });
  std::sort(found->begin(), found->end());
  found->erase(std::unique(found->begin(), found->end()), found->end());
  if (found->empty())
    return about(service, Errc::not_found, fmt::format("{} has no address that may be reached", name));
  return found;
}

std::string words_for(const link::HiddenService& service, const std::string& name, const Addresses& addresses) {
  std::vector<std::string> texts;
  for (const auto& address : addresses) texts.push_back(proxy::address_text(address));
  return fmt::format("hidden service {}: for this run, {} is {}", service.name, name, fmt::join(texts, ", "));
}

}  // namespace

Result<Addresses> resolve(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;  // each address once
  addrinfo* all = nullptr;
  if (const int error = getaddrinfo(name.c_str(), nullptr, &hints, &all))
    return Error{Errc::not_found, fmt::format("{}: {}", name, gai_strerror(error))};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(all, freeaddrinfo);
  Addresses addresses;
  for (const addrinfo* one = all; one; one = one->ai_next)
    if (auto endpoint =
            proxy::endpoint_of(std::as_bytes(std::span(reinterpret_cast<const char*>(one->ai_addr), one->ai_addrlen))))
      addresses.push_back(std::move(endpoint->bytes));
  return addresses;
}

Result<Reach> reach_of(const link::HiddenService& service, const Resolver& resolver) {
  Reach reach;
  if (!service.network) return reach;
  if (!service.to) {
    reach.said.push_back(
        fmt::format("hidden service {} has no \"to\": it may reach every host that this one reaches (docs/hiding.md)",
                    service.name));
    return reach;
  }
  std::map<std::string, Addresses> known;  // a name with two ports has the same addresses for both
  for (const std::string& text : *service.to) {
    auto destination = proxy::parse_destination(text);
    if (!destination) return about(service, Errc::invalid, destination.error().message);
    if (destination->name.empty()) {
      reach.destinations.push_back(std::move(*destination));
    } else {
      const std::string name = std::exchange(destination->name, {});
      auto at = known.find(name);
      if (at == known.end()) {
        Result<Addresses> found = reachable(service, name, resolver);
        if (!found) return found.error();
        reach.said.push_back(words_for(service, name, *found));
        at = known.emplace(name, std::move(*found)).first;
      }
      for (const auto& address : at->second) {
        destination->network = {address, static_cast<unsigned>(address.size()) * 8};
        reach.destinations.push_back(*destination);
      }
    }
    if (reach.destinations.size() > kMostDestinations)
      return about(service, Errc::limit, fmt::format("more than {} destinations", kMostDestinations));
  }
  return reach;
}

}  // namespace oboro::supervisor
