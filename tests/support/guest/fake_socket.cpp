#include <arpa/inet.h>
#include <cstring>
#include <netinet/in.h>

#include "tests/support/guest/fake_guest.h"

namespace oboro::fake {

using guest::Family;
using guest::IpAddress;
using guest::IpEndpoint;
using guest::SocketType;

namespace {

uint32_t v4_word(const IpAddress& address) {
  uint32_t word;
  std::memcpy(&word, address.bytes.data() + 12, sizeof word);
  return word;
}

// hlist_nulls: the end of a chain is odd.
constexpr uint64_t kNulls = 1;

}  // namespace

IpAddress address(const char* text) {
  uint32_t v4;
  if (inet_pton(AF_INET, text, &v4) == 1) return IpAddress::v4(v4);
  IpAddress out;
  inet_pton(AF_INET6, text, out.bytes.data());
  return out;
}

Gva FakeGuest::sock(Family family, SocketType type, uint16_t protocol) {
  const Gva sock = allocate();
  set(sock, Field::sock_family, static_cast<uint16_t>(family));
  set(sock, Field::sock_type, static_cast<uint16_t>(type));
  set(sock, Field::sock_protocol, protocol);
  set(sock, Field::sock_net, net_);
  for (const Field port : {Field::sock_num, Field::sock_dport, Field::inet_sock_sport}) set(sock, port, uint16_t{0});
  for (const Field v4 : {Field::sock_daddr, Field::sock_rcv_saddr}) set(sock, v4, uint32_t{0});
  return sock;
}

Gva FakeGuest::socket(Gva sock) {
  const Gva socket = allocate();
  set(socket, Field::socket_sk, sock);
  set(sock, Field::sock_socket, socket);
  return socket;
}

Gva FakeGuest::socket_file(Gva socket, uint64_t number) {
  const FileSystem sockfs = file_system(0x534f434b, "sockfs", 8);
  const Gva file = open(dentry(sockfs.root, "", inode(sockfs.sb, guest::FileType::socket, number)));
  set(file, Field::file_private_data, socket);
  return file;
}

std::pair<Gva, Gva> FakeGuest::unix_pair(SocketType type) {
  const Gva one = sock(Family::local, type), other = sock(Family::local, type);
  set(one, Field::unix_sock_peer, other);
  set(other, Field::unix_sock_peer, one);
  return {one, other};
}

void FakeGuest::bind_unix(Gva sock, std::string_view name) {
  const Gva address = allocate();
  const size_t end = name[0] == '@' ? 0 : 1;  // the length of an abstract name counts; a path ends in a NUL
  set(address, Field::unix_address_len, static_cast<uint32_t>(2 + name.size() + end));
  std::string raw(name);
  if (raw[0] == '@') raw[0] = '\0';
  write(address + profile[Field::unix_address_name], uint16_t{AF_UNIX});
  write(address + profile[Field::unix_address_name] + 2, raw.data(), raw.size());
  set(sock, Field::unix_sock_addr, address);
}

void FakeGuest::connect(Gva sock, const IpEndpoint& remote) {
  set(sock, Field::sock_dport, htons(remote.port));
  if ((get(sock, Field::sock_family) & 0xffff) == AF_INET6)
    write(sock + profile[Field::sock_v6_daddr], remote.address.bytes);
  else
    set(sock, Field::sock_daddr, v4_word(remote.address));
}

Gva FakeGuest::tcp(const IpEndpoint& local, const IpEndpoint& remote) {
  const Family family = local.address.is_v4() ? Family::inet : Family::inet6;
  const Gva sock = this->sock(family, SocketType::stream, guest::kProtocolTcp);
  if (family == Family::inet)
    set(sock, Field::sock_rcv_saddr, v4_word(local.address));
  else
    write(sock + profile[Field::sock_v6_rcv_saddr], local.address.bytes);
  set(sock, Field::inet_sock_sport, htons(local.port));
  set(sock, Field::sock_num, local.port);
  connect(sock, remote);
  return sock;
}

Gva FakeGuest::udp(const IpEndpoint& local) {
  const Gva sock = tcp(local, {});
  set(sock, Field::sock_type, static_cast<uint16_t>(SocketType::datagram));
  set(sock, Field::sock_protocol, guest::kProtocolUdp);
  const Gva table =
      profile.has(Field::net_udp_table) ? Gva(get(net_, Field::net_udp_table)) : symbol(Symbol::udp_table);
  const uint64_t mask = profile.has(Field::udp_table_mask)
                            ? get(table, Field::udp_table_mask) & 0xffffffff
                            : (uint64_t{1} << (get(table, Field::udp_table_log) & 31)) - 1;
  const uint64_t salt = profile.has(Field::net_hash_mix) ? get(net_, Field::net_hash_mix) & 0xffffffff : 0;
  const uint64_t slot = (local.port + salt) & mask;
  const Gva head =
      Gva(get(table, Field::udp_table_hash)) + slot * profile[Field::udp_hslot_size] + profile[Field::udp_hslot_head];
  const uint64_t first = word(head);
  set(sock, Field::sock_node_next, first ? first : slot << 1 | kNulls);
  write(head, sock + profile[Field::sock_node_next]);
  return sock;
}

// With the salt of the initial one: a socket can move there and stay where it is in the table.
Gva FakeGuest::add_namespace() {
  const Gva net = allocate();
  append(symbol(Symbol::net_namespace_list), net + profile[Field::net_list]);
  append(net + profile[Field::net_dev_base_head], Gva());
  set(net, Field::net_hash_mix, static_cast<uint32_t>(get(net_, Field::net_hash_mix)));
  return net;
}

Gva FakeGuest::device(const std::vector<IpAddress>& addresses, Gva net) {
  const Gva device = allocate(), in_device = allocate(), in6_device = allocate();
  append((net ? net : net_) + profile[Field::net_dev_base_head], device + profile[Field::net_device_dev_list]);
  set(device, Field::net_device_ip_ptr, in_device);
  if (profile.has(Field::net_device_ip6_ptr)) set(device, Field::net_device_ip6_ptr, in6_device);
  const Gva list = in6_device + profile[Field::inet6_dev_addr_list];
  append(list, Gva());
  for (const IpAddress& address : addresses) {
    const Gva entry = allocate();
    if (address.is_v4()) {
      set(entry, Field::in_ifaddr_local, v4_word(address));
      set(entry, Field::in_ifaddr_next, get(in_device, Field::in_device_ifa_list));
      set(in_device, Field::in_device_ifa_list, entry);
    } else {
      write(entry + profile[Field::inet6_ifaddr_addr], address.bytes);
      append(list, entry + profile[Field::inet6_ifaddr_if_list]);
    }
  }
  return device;
}

Gva FakeGuest::message_to(const IpEndpoint& to) {
  const Gva message = allocate(), name = allocate();
  set(message, Field::msghdr_name, name);
  const bool v4 = to.address.is_v4();
  set(message, Field::msghdr_namelen, uint32_t{v4 ? 16u : 28u});
  write(name, static_cast<uint16_t>(v4 ? AF_INET : AF_INET6));
  write(name + 2, htons(to.port));
  if (v4)
    write(name + 4, v4_word(to.address));
  else
    write(name + 8, to.address.bytes);
  return message;
}

}  // namespace oboro::fake
