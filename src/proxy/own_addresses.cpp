#include "proxy/own_addresses.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <optional>
#include <sys/socket.h>

#include "base/fd.h"

namespace oboro::proxy {
namespace {

constexpr uint16_t kDiscardPort = 9;
constexpr int kLoopbackMtu = 65535;  // what IPv4 says of it; the device's own, which IPv6 says, is one more

// A datagram socket that asks about an address.
class Probe {
 public:
  explicit Probe(std::span<const std::byte> address)
      : four_(address.size() == sizeof(in_addr)),
        fd_(socket(four_ ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    if (four_) {
      in4_.sin_family = AF_INET;
      std::memcpy(&in4_.sin_addr, address.data(), sizeof in4_.sin_addr);
    } else {
      in6_.sin6_family = AF_INET6;
      std::memcpy(&in6_.sin6_addr, address.data(), std::min(address.size(), sizeof in6_.sin6_addr));
    }
  }
  explicit operator bool() const { return bool(fd_); }

  bool can_be_bound() { return bind(fd_.get(), name(0), size()) == 0; }
  // 0, or the errno.
  int connects() { return connect(fd_.get(), name(kDiscardPort), size()) == 0 ? 0 : errno; }
  // To be asked once it is connected.
  bool is_its_own_source() const {
    sockaddr_in6 from{};
    socklen_t length = sizeof from;
    if (getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&from), &length) != 0) return true;
    if (!four_) return std::memcmp(&from.sin6_addr, &in6_.sin6_addr, sizeof in6_.sin6_addr) == 0;
    return std::memcmp(&reinterpret_cast<const sockaddr_in&>(from).sin_addr, &in4_.sin_addr, sizeof in4_.sin_addr) == 0;
  }
  bool goes_by_loopback() const {
    int mtu = 0;
    socklen_t length = sizeof mtu;
    return getsockopt(fd_.get(), four_ ? IPPROTO_IP : IPPROTO_IPV6, four_ ? IP_MTU : IPV6_MTU, &mtu, &length) == 0 &&
           mtu >= kLoopbackMtu;
  }

 private:
  const sockaddr* name(uint16_t port) {
    (four_ ? in4_.sin_port : in6_.sin6_port) = htons(port);
    return four_ ? reinterpret_cast<const sockaddr*>(&in4_) : reinterpret_cast<const sockaddr*>(&in6_);
  }
  socklen_t size() const { return four_ ? sizeof in4_ : sizeof in6_; }

  bool four_;
  UniqueFd fd_;
  sockaddr_in in4_{};
  sockaddr_in6 in6_{};
};

// Whether any address can be bound here (ip_nonlocal_bind). Tries two addresses that no host has: one of class E, and
// one to be discarded (RFC 6666).
bool binds_anything(bool four) {
  in6_addr nobody{};
  nobody.s6_addr[0] = four ? 240 : 1;
  nobody.s6_addr[four ? 3 : 15] = 1;
  Probe probe(std::as_bytes(std::span(&nobody, 1)).first(four ? sizeof(in_addr) : sizeof(in6_addr)));
  return probe && probe.can_be_bound();
}

}  // namespace

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

// Only own addresses and broadcasts can be bound. But where a host lets everybody bind everything, that alone does not
// tell; nor does it tell IPv6's anycast addresses, and whole networks that are routed to loopback. A connection to
// those goes by loopback: it comes from the address that it goes to. That holds even where somebody made loopback's
// packets smaller, though not for all of them.
bool is_own_address(std::span<const std::byte> address) {
  Probe bound(address);
  if (!bound) return true;
  if (bound.can_be_bound() && !binds_anything(address.size() == sizeof(in_addr))) return true;
  Probe connected(address);
  if (!connected) return true;
  if (const int error = connected.connects())
    return error == EACCES;  // a broadcast; any other error: no way leads there
  return connected.is_its_own_source() || connected.goes_by_loopback();
}

}  // namespace oboro::proxy
