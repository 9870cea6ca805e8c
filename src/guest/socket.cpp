#include "guest/socket.h"

#include <algorithm>
#include <arpa/inet.h>
#include <fmt/format.h>

namespace oboro::guest {
namespace {

constexpr size_t kMaxDevices = 4096;
constexpr size_t kMaxNamespaces = 4096;
constexpr size_t kMaxAddresses = 4096;
constexpr size_t kMaxChain = 4096;
constexpr size_t kUnixNameMax = 110;  // sizeof(struct sockaddr_un)
constexpr uint8_t kV4Prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

uint16_t swap16(uint16_t v) { return static_cast<uint16_t>(v << 8 | v >> 8); }

}  // namespace

IpAddress IpAddress::v4(uint32_t network_order) {
  IpAddress a;
  std::memcpy(a.bytes.data(), kV4Prefix, sizeof kV4Prefix);
  std::memcpy(a.bytes.data() + 12, &network_order, 4);
  return a;
}

bool IpAddress::is_v4() const { return std::memcmp(bytes.data(), kV4Prefix, sizeof kV4Prefix) == 0; }

bool IpAddress::is_any() const {
  const auto from = bytes.begin() + (is_v4() ? 12 : 0);
  return std::all_of(from, bytes.end(), [](uint8_t b) { return b == 0; });
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes[12] == 127;
  return std::all_of(bytes.begin(), bytes.end() - 1, [](uint8_t b) { return b == 0; }) && bytes[15] == 1;
}

bool IpAddress::is_multicast() const { return is_v4() ? bytes[12] >= 224 : bytes[0] == 0xff; }

std::string IpAddress::text() const {
  char out[INET6_ADDRSTRLEN] = "";
  if (is_v4())
    inet_ntop(AF_INET, bytes.data() + 12, out, sizeof out);
  else
    inet_ntop(AF_INET6, bytes.data(), out, sizeof out);
  return out;
}

bool Sock::is_tcp(Reader& r) const {
  const Family f = family(r);
  return (f == Family::inet || f == Family::inet6) && protocol(r) == kProtocolTcp && type(r) == SocketType::stream;
}

bool Sock::is_udp(Reader& r) const {
  const Family f = family(r);
  return (f == Family::inet || f == Family::inet6) && protocol(r) == kProtocolUdp && type(r) == SocketType::datagram;
}

std::string Sock::unix_name(Reader& r) const {
  const Gva address = r.pointer(at, Field::unix_sock_addr);
  if (!address) return {};
  const size_t length = std::min<size_t>(r.get<uint32_t>(address, Field::unix_address_len), kUnixNameMax);
  if (length <= 2) return {};
  char name[kUnixNameMax];
  if (!r.bytes(address + r.profile()[Field::unix_address_name], name, length)) return {};
  std::string_view path(name + 2, length - 2);  // past sun_family
  if (path[0] == '\0') return "@" + std::string(path.substr(1));
  return std::string(path.substr(0, path.find('\0')));
}

IpEndpoint Sock::local(Reader& r) const {
  IpEndpoint e;
  if (family(r) == Family::inet6)
    e.address.bytes = r.get<std::array<uint8_t, 16>>(at, Field::sock_v6_rcv_saddr);
  else
    e.address = IpAddress::v4(r.get<uint32_t>(at, Field::sock_rcv_saddr));
  e.port = swap16(r.get<uint16_t>(at, Field::inet_sock_sport));
  return e;
}

IpEndpoint Sock::remote(Reader& r) const {
  IpEndpoint e;
  if (family(r) == Family::inet6)
    e.address.bytes = r.get<std::array<uint8_t, 16>>(at, Field::sock_v6_daddr);
  else
    e.address = IpAddress::v4(r.get<uint32_t>(at, Field::sock_daddr));
  e.port = swap16(r.get<uint16_t>(at, Field::sock_dport));
  return e;
}

std::string Sock::protocol_name(Reader& r) const {
  const Family f = family(r);
  const SocketType t = type(r);
  switch (f) {
    case Family::local:
      switch (t) {
        case SocketType::stream:
          return "unix-stream";
        case SocketType::datagram:
          return "unix-dgram";
        case SocketType::seqpacket:
          return "unix-seqpacket";
        default:
          return "unix";
      }
    case Family::inet:
    case Family::inet6: {
      if (t == SocketType::raw) return "raw";
      const uint16_t p = protocol(r);
      if (p == kProtocolTcp) return "tcp";
      if (p == kProtocolUdp) return "udp";
      if (p == kProtocolUdpLite) return "udplite";
      if (p == 1 || p == 58) return "icmp";
      if (p == 132) return "sctp";
      if (p == 262) return "mptcp";
      return fmt::format("ip-{}", p);
    }
    case Family::packet:
      return "packet";
    case Family::netlink:
      return "netlink";
    case Family::vsock:
      return "vsock";
    case Family::alg:
      return "alg";
    case Family::xdp:
      return "xdp";
    case Family::bluetooth:
      return "bluetooth";
    case Family::can:
      return "can";
    case Family::unspecified:
      break;
  }
  return fmt::format("family-{}", static_cast<uint16_t>(f));
}

bool message_destination(Reader& r, Gva msghdr, IpEndpoint& out) {
  const Gva name = r.pointer(msghdr, Field::msghdr_name);
  const auto length = r.get<uint32_t>(msghdr, Field::msghdr_namelen);
  if (!name || length < 8) return false;
  uint8_t raw[28] = {};  // struct sockaddr_in6
  if (!r.bytes(name, raw, std::min<size_t>(length, sizeof raw))) return false;
  uint16_t family;
  std::memcpy(&family, raw, 2);
  out.port = static_cast<uint16_t>(raw[2] << 8 | raw[3]);
  if (family == static_cast<uint16_t>(Family::inet)) {
    uint32_t v4;
    std::memcpy(&v4, raw + 4, 4);
    out.address = IpAddress::v4(v4);
    return true;
  }
  if (family == static_cast<uint16_t>(Family::inet6) && length >= 24) {
    std::memcpy(out.address.bytes.data(), raw + 8, 16);
    return true;
  }
  return false;
}

namespace {

bool has_address(Reader& r, Gva net, const IpAddress& address) {
  const Profile& p = r.profile();
  const bool v6 = p.has(Field::net_device_ip6_ptr) && p.has(Field::inet6_dev_addr_list) &&
                  p.has(Field::inet6_ifaddr_if_list) && p.has(Field::inet6_ifaddr_addr);
  const Gva head = net + p[Field::net_dev_base_head];
  Gva link(r.at<uint64_t>(head));
  for (size_t i = 0; link && link != head && i < kMaxDevices; ++i) {
    const Gva device = link - p[Field::net_device_dev_list];
    if (address.is_v4()) {
      const Gva in_device = r.pointer(device, Field::net_device_ip_ptr);
      Gva entry = in_device ? r.pointer(in_device, Field::in_device_ifa_list) : Gva();
      for (size_t j = 0; entry && j < kMaxAddresses; ++j) {
        if (IpAddress::v4(r.get<uint32_t>(entry, Field::in_ifaddr_local)) == address) return true;
        entry = r.pointer(entry, Field::in_ifaddr_next);
      }
    } else if (v6) {
      const Gva idev = r.pointer(device, Field::net_device_ip6_ptr);
      if (idev) {
        const Gva list = idev + p[Field::inet6_dev_addr_list];
        Gva node(r.at<uint64_t>(list));
        for (size_t j = 0; node && node != list && j < kMaxAddresses; ++j) {
          const Gva entry = node - p[Field::inet6_ifaddr_if_list];
          if (r.get<std::array<uint8_t, 16>>(entry, Field::inet6_ifaddr_addr) == address.bytes) return true;
          node = Gva(r.at<uint64_t>(node));
        }
      }
    }
    link = Gva(r.at<uint64_t>(link));
  }
  return false;
}

}  // namespace

Gva namespace_of_address(Reader& r, Gva net, const IpAddress& address) {
  if (address.is_loopback() || address.is_any()) return net;  // 0.0.0.0 and :: mean this host
  if (has_address(r, net, address)) return net;
  const uint32_t link = r.profile()[Field::net_list];
  const Gva head = r.kernel().symbol(Symbol::net_namespace_list);
  Gva node(r.at<uint64_t>(head));
  for (size_t i = 0; node && node != head && i < kMaxNamespaces; ++i) {
    const Gva other = node - link;
    if (other != net && has_address(r, other, address)) return other;
    node = Gva(r.at<uint64_t>(node));
  }
  return Gva();
}

bool udp_receivers(Reader& r, Gva net, const IpEndpoint& to, std::vector<Sock>& out) {
  const Profile& p = r.profile();
  const Gva table =
      p.has(Field::net_udp_table) ? r.pointer(net, Field::net_udp_table) : r.kernel().symbol(Symbol::udp_table);
  if (!table) return false;
  uint64_t mask;
  if (p.has(Field::udp_table_mask))
    mask = r.get<uint32_t>(table, Field::udp_table_mask);
  else
    mask = (uint64_t{1} << (r.get<uint32_t>(table, Field::udp_table_log) & 31)) - 1;
  // udp_hashfn(): the port plus the namespace's salt. Only kernels with CONFIG_NET_NS keep a salt.
  const uint32_t salt = p.has(Field::net_hash_mix) ? r.get<uint32_t>(net, Field::net_hash_mix) : 0;
  const uint64_t slot = (to.port + salt) & mask;
  const Gva head = r.pointer(table, Field::udp_table_hash) + slot * p[Field::udp_hslot_size] + p[Field::udp_hslot_head];
  Gva link(r.at<uint64_t>(head));
  for (size_t i = 0; i < kMaxChain; ++i) {
    if (!link || (link.value & 1)) return !r.failed();
    const Sock sock{link - p[Field::sock_node_next]};
    if (r.get<uint16_t>(sock.at, Field::sock_num) == to.port && sock.net(r) == net) {
      const IpAddress bound = sock.local(r).address;
      // An IPv6 socket on :: also takes IPv4, unless it is v6-only. It is treated as if it did.
      const bool takes = bound == to.address || bound.is_any() || to.address.is_any();
      if (takes && !(sock.family(r) == Family::inet && !to.address.is_v4() && !to.address.is_any()))
        out.push_back(sock);
    }
    link = Gva(r.at<uint64_t>(link));
  }
  return false;
}

}  // namespace oboro::guest
