#include "proxy/own_addresses.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <span>

namespace oboro::proxy {

Result<std::vector<std::vector<std::byte>>> own_addresses() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return Error{Errc::io, fmt::format("own addresses: {}", std::strerror(errno))};
  std::vector<std::vector<std::byte>> own;
  const auto add = [&](const sockaddr* address) {
    const auto put = [&](const auto& in) {
      const auto bytes = std::as_bytes(std::span(&in, 1));
      own.emplace_back(bytes.begin(), bytes.end());
    };
    if (address && address->sa_family == AF_INET) put(reinterpret_cast<const sockaddr_in*>(address)->sin_addr);
    if (address && address->sa_family == AF_INET6) put(reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
  };
  for (const ifaddrs* one = all; one; one = one->ifa_next) {
    add(one->ifa_addr);
    if (one->ifa_flags & IFF_BROADCAST) add(one->ifa_broadaddr);
  }
  freeifaddrs(all);
  return own;
}

}  // namespace oboro::proxy
