#include "proxy/network_policy.h"

#include <atomic>
#include <cerrno>
#include <thread>

#include "proxy/server_test.h"

namespace oboro::proxy {
namespace {

std::atomic<bool> outside_is_here;
std::atomic<int> asked;

class NetworkPolicyTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    outside_is_here = false;
    asked = 0;
    policy.is_own = [](std::span<const std::byte>) {
      ++asked;
      return outside_is_here.load();
    };
  }
  static void until_it_asks_again() {
    std::this_thread::sleep_for(Destinations::kValid + std::chrono::milliseconds(50));
  }
};

TEST_F(NetworkPolicyTest, AHostThatBecomesThisOneIsReachedNoMore) {
  start();
  auto [tcp, peer] = connected();
  const uint32_t connected_udp = made(Op::socket, {AF_INET, SOCK_DGRAM, 0}),
                 udp = made(Op::socket, {AF_INET, SOCK_DGRAM, 0});
  const UniqueFd receiver(socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in to = address(kOutside, 0);
  ASSERT_EQ(bind(receiver.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  socklen_t size = sizeof to;
  getsockname(receiver.get(), reinterpret_cast<sockaddr*>(&to), &size);
  EXPECT_EQ(call(Op::connect, connected_udp, {}, raw(to)).result, 0);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(call(Op::send, tcp, {}, "x").result, 1);
    EXPECT_EQ(call(Op::send, connected_udp, {}, "x").result, 1);
    EXPECT_EQ(call(Op::send, udp, {}, "x", raw(to)).result, 1);
  }
  EXPECT_LT(asked, 10) << "not for each of them";
  ASSERT_EQ(::send(peer.get(), "secret", 6, 0), 6);

  outside_is_here = true;
  until_it_asks_again();
  EXPECT_EQ(call(Op::send, tcp, {}, "x").result, -ENETUNREACH);
  EXPECT_EQ(call(Op::receive, tcp, {10, 0}).result, -ENETUNREACH);
  EXPECT_EQ(call(Op::send, connected_udp, {}, "x").result, -ENETUNREACH);
  EXPECT_EQ(call(Op::send, udp, {}, "x", raw(to)).result, -ENETUNREACH);
  EXPECT_EQ(call(Op::connect, udp, {}, raw(to)).result, -ENETUNREACH);
  // Without a connection it is as new.
  EXPECT_EQ(call(Op::connect, connected_udp, {}, raw(sa_family_t{AF_UNSPEC})).result, 0);
  EXPECT_EQ(call(Op::send, connected_udp, {}, "x").result, -EDESTADDRREQ);

  outside_is_here = false;
  EXPECT_EQ(call(Op::receive, tcp, {10, 0}).first, "secret") << "a refusal is not remembered";
}

// The kernel says 0 to whoever asks first after a connection has come to be, whatever address he names.
TEST_F(NetworkPolicyTest, AConnectionIsToWhomItWasAskedFor) {
  policy.is_own = [](std::span<const std::byte> bytes) { return outside_is_here && bytes[0] == std::byte{10}; };
  start();
  uint16_t port = 0;
  const UniqueFd listening = listener(port);
  const uint32_t handle = made(Op::socket, {AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0});
  (void)call(Op::connect, handle, {}, raw(address(kOutside, port)));
  const UniqueFd peer(accept(listening.get(), nullptr, nullptr));
  (void)call(Op::connect, handle, {}, raw(address("192.0.2.1", 80)));
  EXPECT_EQ(call(Op::send, handle, {}, "x").result, 1);
  outside_is_here = true;
  until_it_asks_again();
  EXPECT_EQ(call(Op::send, handle, {}, "x").result, -ENETUNREACH);
}

// With the same address asked about by IPv4 in IPv6's clothes.
std::vector<Endpoint> endpoints_of(const std::string& host, uint16_t port) {
  std::vector<Endpoint> out;
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  if (inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) return {*endpoint_of(std::as_bytes(std::span(&six, 1)))};
  const sockaddr_in four = address(host.c_str(), port);
  EXPECT_EQ(inet_pton(AF_INET6, ("::ffff:" + host).c_str(), &six.sin6_addr), 1) << host;
  return {*endpoint_of(std::as_bytes(std::span(&four, 1))), *endpoint_of(std::as_bytes(std::span(&six, 1)))};
}

NetworkPolicy policy_to(const std::vector<std::string>& to) {
  NetworkPolicy policy;
  policy.remote = true;
  policy.to.emplace();
  for (const std::string& one : to) policy.to->push_back(std::move(*parse_destination(one)));
  policy.is_own = [](std::span<const std::byte>) { return false; };
  return policy;
}

struct Row {
  const char* host;
  uint16_t port;
  Protocol by;
  bool allowed;
};
constexpr Protocol kTcp = Protocol::tcp, kUdp = Protocol::udp;

TEST(Destinations, OnlyWhatIsNamed) {
  const NetworkPolicy policy = policy_to(
      {"203.0.113.0/24:6514/tcp", "198.51.100.7:50-60/udp", "[2001:db8::/32]:53/udp", "[2001:db8::7]:443/tcp"});
  for (const Row& row : std::initializer_list<Row>{{"203.0.113.0", 6514, kTcp, true},
                                                   {"203.0.113.255", 6514, kTcp, true},
                                                   {"203.0.112.255", 6514, kTcp, false},
                                                   {"203.0.114.0", 6514, kTcp, false},
                                                   {"203.0.113.1", 6514, kUdp, false},
                                                   {"203.0.113.1", 6513, kTcp, false},
                                                   {"203.0.113.1", 6515, kTcp, false},
                                                   {"198.51.100.7", 50, kUdp, true},
                                                   {"198.51.100.7", 60, kUdp, true},
                                                   {"198.51.100.7", 49, kUdp, false},
                                                   {"198.51.100.7", 61, kUdp, false},
                                                   {"198.51.100.7", 55, kTcp, false},
                                                   {"198.51.100.7", 6514, kTcp, false},
                                                   {"198.51.100.8", 55, kUdp, false},
                                                   {"2001:db8:ffff::1", 53, kUdp, true},
                                                   {"2001:db9::", 53, kUdp, false},
                                                   {"2001:db8::7", 443, kTcp, true},
                                                   {"2001:db8::8", 443, kTcp, false},
                                                   {"64:ff9b::203.0.113.1", 6514, kTcp, false},
                                                   {"::203.0.113.1", 6514, kTcp, false},
                                                   {"192.0.2.1", 80, kTcp, false}})
    for (const Endpoint& endpoint : endpoints_of(row.host, row.port))
      EXPECT_EQ(Destinations(policy).allows(endpoint, row.by), row.allowed) << row.host << " " << row.port;
}

TEST(Destinations, AnEmptyListIsNobodyAndNoListEverybody) {
  for (const Endpoint& endpoint : endpoints_of("203.0.113.1", 80)) {
    NetworkPolicy policy = policy_to({});
    EXPECT_FALSE(Destinations(policy).allows(endpoint, kTcp));
    policy.to.reset();
    EXPECT_TRUE(Destinations(policy).allows(endpoint, kTcp));
    policy.remote = false;
    EXPECT_FALSE(Destinations(policy).allows(endpoint, kTcp));
  }
}

// Neither by a network that holds it, nor by its own name.
TEST(Destinations, WhatIsRefusedToAllIsNotAllowedByBeingNamed) {
  NetworkPolicy policy = policy_to({"0.0.0.0/0:1-65535/tcp", "[::/0]:1-65535/tcp", "127.0.0.1:80/tcp",
                                    "169.254.169.254:80/tcp", "[fd00:ec2::254]:80/tcp", "192.0.2.8:80/tcp"});
  policy.own = {{std::byte{192}, std::byte{0}, std::byte{2}, std::byte{8}}};
  policy.is_own = [](std::span<const std::byte> address) { return address_text(address) == "192.0.2.9"; };
  for (const Row& row : std::initializer_list<Row>{{"203.0.113.1", 80, kTcp, true},
                                                   {"2001:db8::1", 80, kTcp, true},
                                                   {"192.0.2.8", 80, kTcp, false},
                                                   {"192.0.2.9", 80, kTcp, false},
                                                   {"127.0.0.1", 80, kTcp, false},
                                                   {"0.0.0.0", 80, kTcp, false},
                                                   {"169.254.169.254", 80, kTcp, false},
                                                   {"224.0.0.1", 80, kTcp, false},
                                                   {"255.255.255.255", 80, kTcp, false},
                                                   {"::", 80, kTcp, false},
                                                   {"::1", 80, kTcp, false},
                                                   {"::127.0.0.1", 80, kTcp, false},
                                                   {"fe80::1", 80, kTcp, false},
                                                   {"ff02::1", 80, kTcp, false},
                                                   {"fd00:ec2::254", 80, kTcp, false},
                                                   {"168.63.129.16", 80, kTcp, false},
                                                   {"64:ff9b::203.0.113.1", 80, kTcp, true},
                                                   {"64:ff9b::169.254.169.254", 80, kTcp, false},
                                                   {"64:ff9b::192.0.2.8", 80, kTcp, false},
                                                   {"2002:c000:209::1", 80, kTcp, false}})
    for (const Endpoint& endpoint : endpoints_of(row.host, row.port))
      EXPECT_EQ(Destinations(policy).allows(endpoint, row.by), row.allowed) << row.host;
}

// By everything that sends: nobody hears of it.
TEST_F(NetworkPolicyTest, WhatIsNotNamedIsNotSentAnything) {
  uint16_t named = 0, other = 0;
  const UniqueFd named_listener = listener(named), other_listener = listener(other);
  const auto receiver = [](uint16_t port) {
    UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    const sockaddr_in in = address(kOutside, port);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in), 0);
    return fd;
  };
  // Each number is TCP's or UDP's, and the other's is refused.
  const UniqueFd named_receiver = receiver(5140), of_named = receiver(named), of_other = receiver(other);
  const std::string host = kOutside;
  policy.to = {*parse_destination(host + ":" + std::to_string(named) + "/tcp"), *parse_destination(host + ":5140/udp")};
  start();
  const auto mapped = [&](uint16_t port) {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    inet_pton(AF_INET6, ("::ffff:" + host).c_str(), &six.sin6_addr);
    return six;
  };
  const uint32_t tcp = made(Op::socket, {AF_INET, SOCK_STREAM, 0}), tcp6 = made(Op::socket, {AF_INET6, SOCK_STREAM, 0}),
                 udp = made(Op::socket, {AF_INET, SOCK_DGRAM, 0}), udp6 = made(Op::socket, {AF_INET6, SOCK_DGRAM, 0});
  for (const uint16_t port : {named, other}) {
    EXPECT_EQ(call(Op::connect, udp, {}, raw(address(kOutside, port))).result, -ENETUNREACH);
    EXPECT_EQ(call(Op::connect, udp6, {}, raw(mapped(port))).result, -ENETUNREACH);
    EXPECT_EQ(call(Op::send, udp, {}, "x", raw(address(kOutside, port))).result, -ENETUNREACH);
    EXPECT_EQ(call(Op::send, udp6, {}, "x", raw(mapped(port))).result, -ENETUNREACH);
    EXPECT_EQ(call(Op::send, udp6, {}, "x", raw(address(kOutside, port))).result, -ENETUNREACH);
  }
  EXPECT_EQ(call(Op::connect, tcp, {}, raw(address(kOutside, other))).result, -ENETUNREACH);
  EXPECT_EQ(call(Op::connect, tcp6, {}, raw(mapped(other))).result, -ENETUNREACH);
  EXPECT_EQ(call(Op::send, tcp, {MSG_NOSIGNAL}, "x", raw(address(kOutside, other))).result, -ENETUNREACH);
  EXPECT_EQ(call(Op::connect, tcp, {}, raw(address(kOutside, 5140))).result, -ENETUNREACH);
  char byte = 0;
  EXPECT_LT(recv(of_named.get(), &byte, 1, 0), 0);
  EXPECT_LT(recv(of_other.get(), &byte, 1, 0), 0);
  pollfd came{other_listener.get(), POLLIN, 0};
  EXPECT_EQ(poll(&came, 1, 0), 0) << "somebody connected";
  came = {named_listener.get(), POLLIN, 0};
  EXPECT_EQ(poll(&came, 1, 0), 0) << "somebody connected";

  EXPECT_EQ(call(Op::connect, tcp, {}, raw(address(kOutside, named))).result, 0);
  EXPECT_EQ(call(Op::send, tcp, {}, "x").result, 1);
  EXPECT_EQ(call(Op::connect, tcp6, {}, raw(mapped(named))).result, 0);
  EXPECT_EQ(call(Op::send, udp, {}, "x", raw(address(kOutside, 5140))).result, 1);
  EXPECT_EQ(recv(named_receiver.get(), &byte, 1, 0), 1);
}

}  // namespace
}  // namespace oboro::proxy
