// socket, sock, unix_sock, inet_sock, net: the ends of a communication.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "guest/kernel.h"

namespace oboro::guest {

// An IP address; IPv4 as an IPv4-mapped IPv6 address, so that one comparison serves both.
struct IpAddress {
  std::array<uint8_t, 16> bytes{};

  static IpAddress v4(uint32_t network_order);
  bool is_v4() const;
  bool is_any() const;        // 0.0.0.0 or ::
  bool is_loopback() const;   // 127/8 or ::1
  bool is_multicast() const;  // 224/4, 255.255.255.255 or ff00::/8
  bool operator==(const IpAddress&) const = default;
  std::string text() const;
};

struct IpEndpoint {
  IpAddress address;
  uint16_t port = 0;  // host order
};

enum class Family : uint16_t {
  unspecified = 0,
  local = 1,
  inet = 2,
  packet = 17,
  inet6 = 10,
  netlink = 16,
  vsock = 40,
  alg = 38,
  xdp = 44,
  bluetooth = 31,
  can = 29
};
enum class SocketType : uint16_t { stream = 1, datagram = 2, raw = 3, seqpacket = 5 };

inline constexpr uint16_t kProtocolTcp = 6, kProtocolUdp = 17, kProtocolUdpLite = 136;

struct Sock {
  Gva at;

  Family family(Reader& r) const { return static_cast<Family>(r.get<uint16_t>(at, Field::sock_family)); }
  SocketType type(Reader& r) const { return static_cast<SocketType>(r.get<uint16_t>(at, Field::sock_type)); }
  uint16_t protocol(Reader& r) const { return r.get<uint16_t>(at, Field::sock_protocol); }
  bool is_tcp(Reader& r) const;
  bool is_udp(Reader& r) const;
  Gva net(Reader& r) const { return r.pointer(at, Field::sock_net); }
  Sock unix_peer(Reader& r) const { return {r.pointer(at, Field::unix_sock_peer)}; }
  std::string unix_name(Reader& r) const;  // "/run/x.sock", "@abstract", "" unbound
  IpEndpoint local(Reader& r) const;       // the address bound to, or the one that connections use
  IpEndpoint remote(Reader& r) const;      // zero if not connected
  // "tcp", "udp", "unix-stream", "raw", "packet", ...
  std::string protocol_name(Reader& r) const;
};

inline Sock sock_of(Reader& r, Gva socket) { return {r.pointer(socket, Field::socket_sk)}; }

// msghdr.msg_name (the kernel's own copy) as an IP endpoint. False if there is none, or if it is no IP address.
bool message_destination(Reader& r, Gva msghdr, IpEndpoint& out);

// The network namespace of this guest in which a packet arrives that is sent in `net` to this address: net itself for
// loopback addresses and those of its own interfaces, else another namespace that has the address (a container's).
// Null: the address is outside of the guest.
Gva namespace_of_address(Reader& r, Gva net, const IpAddress& address);

// Appends the UDP sockets of this namespace that a datagram to `to` can reach (udp_table). False if some were not seen.
bool udp_receivers(Reader& r, Gva net, const IpEndpoint& to, std::vector<Sock>& out);

}  // namespace oboro::guest
