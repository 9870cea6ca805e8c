#include "guest/socket.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "tests/support/guest/fake_guest.h"

namespace oboro::guest {
namespace {

using fake::address;
using fake::endpoint;
using fake::FakeGuest;

TEST(IpAddress, Kinds) {
  EXPECT_TRUE(address("127.8.9.1").is_loopback());
  EXPECT_TRUE(address("::1").is_loopback());
  EXPECT_TRUE(address("::ffff:127.0.0.1").is_loopback());
  EXPECT_FALSE(address("::").is_loopback());
  EXPECT_FALSE(address("128.0.0.1").is_loopback());
  EXPECT_TRUE(address("0.0.0.0").is_any());
  EXPECT_TRUE(address("::").is_any());
  EXPECT_FALSE(address("0.0.0.1").is_any());
  EXPECT_FALSE(address("::1").is_any());
  EXPECT_TRUE(address("224.0.0.251").is_multicast());
  EXPECT_TRUE(address("255.255.255.255").is_multicast());
  EXPECT_TRUE(address("ff02::fb").is_multicast());
  EXPECT_FALSE(address("223.1.1.1").is_multicast());
  EXPECT_FALSE(address("fe80::1").is_multicast());
  EXPECT_EQ(address("10.0.2.15"), address("::ffff:10.0.2.15"));
  EXPECT_EQ(address("10.0.2.15").text(), "10.0.2.15");
  EXPECT_EQ(address("fe80::2").text(), "fe80::2");
}

TEST(Sock, Endpoints) {
  FakeGuest guest;
  const Gva v4 = guest.tcp(endpoint("10.0.2.15", 22), endpoint("10.0.2.2", 40000));
  const Gva v6 = guest.tcp(endpoint("fec0::15", 22), endpoint("fec0::2", 40001));
  Reader r(guest.kernel());
  EXPECT_EQ(Sock{v4}.local(r).address.text(), "10.0.2.15");
  EXPECT_EQ(Sock{v4}.local(r).port, 22);
  EXPECT_EQ(Sock{v4}.remote(r).address.text(), "10.0.2.2");
  EXPECT_EQ(Sock{v4}.remote(r).port, 40000);
  EXPECT_EQ(Sock{v6}.local(r).address.text(), "fec0::15");
  EXPECT_EQ(Sock{v6}.remote(r).address.text(), "fec0::2");
  EXPECT_EQ(Sock{v6}.remote(r).port, 40001);
  EXPECT_TRUE(Sock{v4}.is_tcp(r));
  EXPECT_FALSE(Sock{v4}.is_udp(r));
  EXPECT_EQ(Sock{v6}.protocol_name(r), "tcp");
  EXPECT_FALSE(r.failed());
}

TEST(Sock, UnixNames) {
  FakeGuest guest;
  const auto [one, other] = guest.unix_pair(SocketType::stream);
  guest.bind_unix(one, "/run/x.sock");
  guest.bind_unix(other, "@abstract");
  const Gva unbound = guest.sock(Family::local, SocketType::datagram);
  Reader r(guest.kernel());
  EXPECT_EQ(Sock{one}.unix_name(r), "/run/x.sock");
  EXPECT_EQ(Sock{other}.unix_name(r), "@abstract");
  EXPECT_EQ(Sock{unbound}.unix_name(r), "");
  EXPECT_EQ(Sock{one}.unix_peer(r).at, other);
  EXPECT_EQ(Sock{unbound}.protocol_name(r), "unix-dgram");
  EXPECT_FALSE(r.failed());
  const Gva name(guest.get(one, Field::unix_sock_addr));
  guest.set(name, Field::unix_address_len, UINT32_MAX);  // bounded
  EXPECT_EQ(Sock{one}.unix_name(r), "/run/x.sock");
  guest.set(name, Field::unix_address_len, uint32_t{2});
  EXPECT_EQ(Sock{one}.unix_name(r), "");
}

TEST(Message, Destinations) {
  FakeGuest guest;
  IpEndpoint to;
  Reader r(guest.kernel());
  ASSERT_TRUE(message_destination(r, guest.message_to(endpoint("192.0.2.7", 53)), to));
  EXPECT_EQ(to.address.text(), "192.0.2.7");
  EXPECT_EQ(to.port, 53);
  ASSERT_TRUE(message_destination(r, guest.message_to(endpoint("2001:db8::7", 5353)), to));
  EXPECT_EQ(to.address.text(), "2001:db8::7");
  EXPECT_EQ(to.port, 5353);
  EXPECT_FALSE(message_destination(r, guest.allocate(), to)) << "no name";
  const Gva small = guest.message_to(endpoint("2001:db8::7", 5353));
  guest.set(small, Field::msghdr_namelen, uint32_t{16});
  EXPECT_FALSE(message_destination(r, small, to));
}

TEST(OwnAddress, OfInterfacesAndLoopback) {
  FakeGuest guest;
  guest.device({address("127.0.0.1"), address("::1")});
  guest.device({address("10.0.2.15"), address("10.0.3.15"), address("fec0::15"), address("fe80::15")});
  Reader r(guest.kernel());
  for (const char* own : {"10.0.2.15", "10.0.3.15", "fec0::15", "fe80::15", "127.0.0.9", "::1", "0.0.0.0", "::"})
    EXPECT_TRUE(namespace_of_address(r, guest.net(), address(own))) << own;
  for (const char* foreign : {"10.0.2.2", "10.0.2.14", "fec0::2", "fe80::16", "15.2.0.10"})
    EXPECT_FALSE(namespace_of_address(r, guest.net(), address(foreign))) << foreign;
  EXPECT_FALSE(r.failed());
}

TEST(OwnAddress, DevicesWithoutAddressesAreNoFailure) {
  FakeGuest guest;
  const Gva bare = guest.device({});
  guest.set(bare, Field::net_device_ip_ptr, Gva());
  guest.set(bare, Field::net_device_ip6_ptr, Gva());
  guest.device({address("10.0.2.15"), address("fec0::15")});
  Reader r(guest.kernel());
  EXPECT_TRUE(namespace_of_address(r, guest.net(), address("10.0.2.15")));
  EXPECT_TRUE(namespace_of_address(r, guest.net(), address("fec0::15")));
  EXPECT_FALSE(r.failed());
}

TEST(OwnAddress, KernelWithoutIpv6) {
  FakeGuest guest;
  fake::set_missing(guest.profile, Field::net_device_ip6_ptr);
  guest.device({address("10.0.2.15")});
  Reader r(guest.kernel());
  EXPECT_TRUE(namespace_of_address(r, guest.net(), address("10.0.2.15")));
  EXPECT_FALSE(namespace_of_address(r, guest.net(), address("fec0::15")));
  EXPECT_FALSE(r.failed());
}

TEST(OwnAddress, CyclesEnd) {
  FakeGuest guest;
  const Gva device = guest.device({address("10.0.2.15")});
  const Gva link = device + guest.profile[Field::net_device_dev_list];
  guest.write(link, link);
  const Gva in_device(guest.get(device, Field::net_device_ip_ptr));
  const Gva entry(guest.get(in_device, Field::in_device_ifa_list));
  guest.set(entry, Field::in_ifaddr_next, entry);
  Reader r(guest.kernel());
  EXPECT_FALSE(namespace_of_address(r, guest.net(), address("10.0.2.2")));
  EXPECT_TRUE(r.failed()) << "by the budget";
}

class UdpTest : public testing::TestWithParam<int> {
 protected:
  UdpTest() {
    switch (GetParam()) {
      case 1:  // a table of the namespace's own, sized by a logarithm; no salt
        fake::set_offset(guest.profile, Field::net_udp_table, 0x300);
        fake::set_missing(guest.profile, Field::udp_table_mask);
        fake::set_offset(guest.profile, Field::udp_table_log, 0x200);
        fake::set_missing(guest.profile, Field::net_hash_mix);
        const Gva table = guest.allocate();
        guest.set(table, Field::udp_table_hash, guest.allocate());
        guest.set(table, Field::udp_table_log, uint32_t{3});
        guest.set(guest.net(), Field::net_udp_table, table);
        break;
    }
  }
  std::vector<uint64_t> receivers(const IpEndpoint& to, bool complete = true) {
    Reader r(guest.kernel());
    std::vector<Sock> out;
    EXPECT_EQ(udp_receivers(r, guest.net(), to, out), complete);
    std::vector<uint64_t> addresses;
    addresses.reserve(out.size());
    for (const Sock sock : out) addresses.push_back(sock.at.value);
    std::sort(addresses.begin(), addresses.end());
    return addresses;
  }
  FakeGuest guest;
};

TEST_P(UdpTest, FindsWhatIsBoundThere) {
  const Gva any = guest.udp(endpoint("0.0.0.0", 53)), one = guest.udp(endpoint("127.0.0.1", 53));
  const Gva other = guest.udp(endpoint("127.0.0.2", 53)), v6 = guest.udp(endpoint("::", 53));
  const Gva same_slot = guest.udp(endpoint("127.0.0.1", 53 + 16));
  const Gva elsewhere = guest.udp(endpoint("127.0.0.1", 53));
  guest.set(elsewhere, Field::sock_net, guest.allocate());  // another namespace
  EXPECT_EQ(receivers(endpoint("127.0.0.1", 53)), (std::vector{any.value, one.value, v6.value}));
  EXPECT_EQ(receivers(endpoint("127.0.0.2", 53)), (std::vector{any.value, other.value, v6.value}));
  EXPECT_EQ(receivers(endpoint("::1", 53)), std::vector{v6.value});
  EXPECT_EQ(receivers(endpoint("127.0.0.1", 69)), std::vector{same_slot.value});
  EXPECT_TRUE(receivers(endpoint("127.0.0.1", 54)).empty());
}

TEST_P(UdpTest, CyclesAndUnreadableEntriesAreIncomplete) {
  const Gva one = guest.udp(endpoint("127.0.0.1", 53));
  guest.set(one, Field::sock_node_next, one + guest.profile[Field::sock_node_next]);
  receivers(endpoint("127.0.0.1", 53), false);
  guest.hide(one);
  EXPECT_TRUE(receivers(endpoint("127.0.0.1", 53), false).empty());
}

INSTANTIATE_TEST_SUITE_P(Tables, UdpTest, testing::Values(0, 1));

}  // namespace
}  // namespace oboro::guest
