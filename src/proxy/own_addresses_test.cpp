// Uses a network namespace of this process, with a device that is not loopback.
#include "proxy/own_addresses.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <sched.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

namespace oboro::proxy {
namespace {

std::vector<std::byte> address(const std::string& text) {
  std::array<std::byte, sizeof(in6_addr)> bytes{};
  const bool four = text.find(':') == std::string::npos;
  EXPECT_EQ(inet_pton(four ? AF_INET : AF_INET6, text.c_str(), bytes.data()), 1);
  return {bytes.begin(), bytes.begin() + (four ? sizeof(in_addr) : sizeof(in6_addr))};
}
bool own(const std::string& text) { return is_own_address(address(text)); }
// An IPv6 address that was just given to a device is there after a kernel thread has had its turn.
bool soon_own(const std::string& text) {
  for (int i = 0; i < 500 && !own(text); ++i) usleep(10000);
  return own(text);
}

bool write_setting(const char* name, const char* value) {
  return bool(std::ofstream(std::string("/proc/sys/net/") + name) << value << std::flush);
}

class OwnAddresses : public testing::Test {
 protected:
  void SetUp() override {
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
      GTEST_SKIP() << "this host: lets nobody make a network namespace";
    device = UniqueFd(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    ifreq request{};
    strcpy(request.ifr_name, "other0");
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (!device || ioctl(device.get(), TUNSETIFF, &request) != 0)
      GTEST_SKIP() << "this host: no network device can be made";
    ASSERT_TRUE(up("lo"));
    ASSERT_TRUE(add("other0", "10.50.0.1"));
    ASSERT_TRUE(up("other0"));
  }
  static bool up(const char* name) {
    const UniqueFd any(socket(AF_INET, SOCK_DGRAM, 0));
    ifreq request{};
    strcpy(request.ifr_name, name);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    return ioctl(any.get(), SIOCSIFFLAGS, &request) == 0;
  }
  // Adds the address, with the 255 others of its network.
  static bool add(const char* name, const char* text) {
    const UniqueFd any(socket(AF_INET, SOCK_DGRAM, 0));
    ifreq request{};
    strcpy(request.ifr_name, name);
    sockaddr_in in{};
    in.sin_family = AF_INET;
    for (const auto& [what, value] : {std::pair(SIOCSIFADDR, text), std::pair(SIOCSIFNETMASK, "255.255.255.0")}) {
      inet_pton(AF_INET, value, &in.sin_addr);
      std::memcpy(&request.ifr_addr, &in, sizeof in);
      if (ioctl(any.get(), static_cast<unsigned long>(what), &request) != 0) return false;
    }
    return true;
  }
  static bool add6(const char* text) {
    const UniqueFd any(socket(AF_INET6, SOCK_DGRAM, 0));
    in6_ifreq request{};
    inet_pton(AF_INET6, text, &request.ifr6_addr);
    request.ifr6_prefixlen = 64;
    request.ifr6_ifindex = static_cast<int>(if_nametoindex("other0"));
    return any && ioctl(any.get(), SIOCSIFADDR, &request) == 0;
  }

  UniqueFd device;
};

TEST_F(OwnAddresses, ComeAndGo) {
  EXPECT_TRUE(own("10.50.0.1"));
  EXPECT_TRUE(own("127.0.0.1"));
  EXPECT_TRUE(own("127.44.0.1"));
  EXPECT_TRUE(own("10.50.0.255")) << "the broadcast";
  EXPECT_FALSE(own("10.50.0.9"));
  EXPECT_FALSE(own("10.50.0.2"));
  EXPECT_FALSE(own("10.60.0.1")) << "no way there";
  ASSERT_TRUE(add("other0:1", "10.50.0.2"));
  EXPECT_TRUE(own("10.50.0.2")) << "the second one of its network has the first one as its source";
  ASSERT_TRUE(add("lo:1", "10.60.0.7"));
  EXPECT_TRUE(own("10.60.0.7"));
  EXPECT_TRUE(own("10.60.0.9")) << "loopback takes all of its networks";
  const auto all = own_addresses();
  ASSERT_TRUE(all);
  for (const char* each : {"10.50.0.1", "10.50.0.2", "10.60.0.7", "127.0.0.1"})
    EXPECT_TRUE(std::count(all->begin(), all->end(), address(each))) << each;
}

TEST_F(OwnAddresses, OfIpv6) {
  if (!add6("2001:db8:9::1")) GTEST_SKIP() << "this host: no IPv6";
  EXPECT_TRUE(soon_own("2001:db8:9::1"));
  EXPECT_TRUE(own("::1"));
  EXPECT_FALSE(own("2001:db8:9::2"));
  ASSERT_TRUE(add6("2001:db8:9::2"));
  EXPECT_TRUE(soon_own("2001:db8:9::2"));
  if (!write_setting("ipv6/conf/all/forwarding", "1")) GTEST_SKIP() << "this host: settings cannot be changed";
  EXPECT_TRUE(soon_own("2001:db8:9::")) << "a router's anycast address";
}

TEST_F(OwnAddresses, WhereEverythingCanBeBound) {
  if (!write_setting("ipv4/ip_nonlocal_bind", "1")) GTEST_SKIP() << "this host: settings cannot be changed";
  ASSERT_TRUE(add("other0:1", "10.50.0.2"));
  EXPECT_TRUE(own("10.50.0.1"));
  EXPECT_TRUE(own("10.50.0.2"));
  EXPECT_TRUE(own("10.50.0.255"));
  EXPECT_FALSE(own("10.50.0.9"));
  if (!add6("2001:db8:9::1") || !write_setting("ipv6/ip_nonlocal_bind", "1")) GTEST_SKIP() << "this host: no IPv6";
  EXPECT_TRUE(soon_own("2001:db8:9::1"));
  EXPECT_FALSE(own("2001:db8:9::2"));
}

}  // namespace
}  // namespace oboro::proxy
