#include "proxy/never_reached.h"

#include <gtest/gtest.h>
#include <string>

#include "proxy/destination.h"

namespace oboro::proxy {
namespace {

std::vector<std::byte> bytes(const std::string& text) {
  const auto network = parse_network(text);
  EXPECT_TRUE(network) << text;
  return network ? network->base : std::vector<std::byte>();
}
std::string what(const std::string& text) { return std::string(never_reached(bytes(text))); }

// The first and the last address of each row; those beside it, where they belong to nobody else.
TEST(NeverReached, EachRowToItsBorders) {
  for (const NeverReached& row : kNeverReached) {
    const auto network = parse_network(row.network);
    ASSERT_TRUE(network) << row.network;
    std::vector<std::byte> last = network->base;
    for (size_t bit = network->prefix; bit < last.size() * 8; ++bit)
      last[bit / 8] |= static_cast<std::byte>(0x80U >> bit % 8);
    EXPECT_EQ(never_reached(network->base), row.what) << row.network;
    EXPECT_EQ(never_reached(last), row.what) << row.network;
    if (network->is_one_address()) {
      last.back() ^= std::byte{1};
      EXPECT_EQ(never_reached(last), "") << row.network;
    }
  }
  for (const char* beside : {"1.0.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
                             "223.255.255.255", "::1:0:0", "fe7f:ffff::", "fec0::", "feff:ffff::", "fd00:ec2::253"})
    EXPECT_EQ(what(beside), "") << beside;
}

// Addresses as the clouds document them.
TEST(NeverReached, CloudsMetadata) {
  for (const char* address : {"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.23", "169.254.42.42",
                              "168.63.129.16", "100.100.100.200", "192.0.0.192", "100.96.0.96", "100.80.80.80",
                              "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42",
                              "fd00:a9fe:a9fe::1", "fd00:100::100:200", "fe80::a9fe:a9fe"})
    EXPECT_NE(what(address), "") << address;
}

TEST(NeverReached, NeitherByATranslator) {
  for (const char* address :
       {"64:ff9b::169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b:1::168.63.129.16", "64:ff9b:1:ffff::100.100.100.200",
        "2002:a9fe:a9fe::1", "2002:7f00:1::", "::ffff:0:169.254.169.254"})
    EXPECT_NE(what(address), "") << address;
  for (const char* address : {"64:ff9b::203.0.113.1", "64:ff9b:2::169.254.169.254", "2002:cb00:7101::a9fe:a9fe",
                              "2003:a9fe:a9fe::", "::ffff:0:203.0.113.1"})
    EXPECT_EQ(what(address), "") << address;
  EXPECT_EQ(translated(bytes("64:ff9b::203.0.113.1")), bytes("203.0.113.1"));
  EXPECT_EQ(translated(bytes("2002:cb00:7101::7")), bytes("203.0.113.1"));
  EXPECT_TRUE(translated(bytes("2001:db8::203.0.113.1")).empty());
  EXPECT_TRUE(translated(bytes("203.0.113.1")).empty());
}

TEST(NeverReached, NorWhatIsNoAddress) {
  EXPECT_EQ(never_reached({}), "no address");
  EXPECT_EQ(never_reached(std::vector<std::byte>(5)), "no address");
}

}  // namespace
}  // namespace oboro::proxy
