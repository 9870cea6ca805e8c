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

}  // namespace
}  // namespace oboro::proxy
