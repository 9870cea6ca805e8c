// The names in a hidden service's `to` become addresses: once, when its proxy is started, by this host's resolver. The
// proxy gets addresses only, so nobody whom the guest can reach decides what a name means. An address that a name gets
// later counts from the next run on.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "link/settings.h"
#include "proxy/destination.h"

namespace oboro::supervisor {

// 4 or 16 bytes each.
using Addresses = std::vector<std::vector<std::byte>>;
using Resolver = std::function<Result<Addresses>(const std::string& name)>;

// By getaddrinfo(3). Errors: not_found.
Result<Addresses> resolve(const std::string& name);

struct Reach {
  std::vector<proxy::Destination> destinations;  // in the order of `to`, without names
  std::vector<std::string> said;  // for the user: the addresses of each name, or that there are no bounds
};
// Errors: invalid (`to`); the resolver's; not_found (a name has no address that may be reached); limit.
Result<Reach> reach_of(const link::HiddenService& service, const Resolver& resolver = resolve);

}  // namespace oboro::supervisor
