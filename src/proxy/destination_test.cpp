#include "proxy/destination.h"

#include <arpa/inet.h>
#include <array>
#include <gtest/gtest.h>

namespace oboro::proxy {
namespace {

std::vector<std::byte> bytes(const std::string& text) {
  std::array<std::byte, 16> raw{};
  const bool four = inet_pton(AF_INET, text.c_str(), raw.data()) == 1;
  EXPECT_TRUE(four || inet_pton(AF_INET6, text.c_str(), raw.data()) == 1) << text;
  return {raw.begin(), raw.begin() + (four ? 4 : 16)};
}

TEST(Destination, IsWrittenAsItWasRead) {
  for (const char* text :
       {"203.0.113.0/24:6514/tcp", "203.0.113.7:1/udp", "0.0.0.0/0:1-65535/tcp", "[2001:db8::/32]:53/udp",
        "[2001:db8::1]:53/udp", "[::/0]:443/tcp", "log.example.org:443/tcp", "log.example.org.:443-450/tcp",
        "localhost:65535/udp", "a_b.c-d:1/tcp", "xn--bcher-kva.example:25/tcp", "3com.com:80/tcp", "a.b0x1:1/tcp",
        "[64:ff9b::/96]:1/tcp"}) {
    const auto parsed = parse_destination(text);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->text(), text);
  }
  EXPECT_EQ(parse_destination("203.0.113.7/32:5-5/tcp")->text(), "203.0.113.7:5/tcp");
  EXPECT_EQ(parse_destination("[2001:DB8:0::1/128]:5/tcp")->text(), "[2001:db8::1]:5/tcp");
  EXPECT_EQ(parse_destination("log.example.org:443/tcp")->name, "log.example.org");
}

TEST(Destination, WhatIsWrongWithItIsTold) {
  const std::string label(64, 'a');
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"", "does not end in /tcp or /udp"},
           {"203.0.113.0/24:6514", "does not end in /tcp or /udp"},
           {"203.0.113.7:1/sctp", "does not end in /tcp or /udp"},
           {"203.0.113.7:1/TCP", "does not end in /tcp or /udp"},
           {"203.0.113.7:1/tcp ", "does not end in /tcp or /udp"},
           {"203.0.113.7/tcp", "there is no port"},
           {"[2001:db8::1]/tcp", "there is no port"},
           {"203.0.113.7:/tcp", "\"\" is neither a port"},
           {"203.0.113.7:0/tcp", "\"0\" is neither a port"},
           {"203.0.113.7:65536/tcp", "\"65536\" is neither a port"},
           {"203.0.113.7:080/tcp", "\"080\" is neither a port"},
           {"203.0.113.7:+1/tcp", "\"+1\" is neither a port"},
           {"203.0.113.7:-1/tcp", "\"-1\" is neither a port"},
           {"203.0.113.7:1-/tcp", "\"1-\" is neither a port"},
           {"203.0.113.7:1-2-3/tcp", "\"1-2-3\" is neither a port"},
           {"203.0.113.7:0-5/tcp", "\"0-5\" is neither a port"},
           {"203.0.113.7:1-65536/tcp", "\"1-65536\" is neither a port"},
           {"203.0.113.7:https/tcp", "\"https\" is neither a port"},
           {"203.0.113.7:2-1/tcp", "2-1 ends before it begins"},
           {":1/tcp", "neither an address nor a name"},
           {"203.0.113.0/33:1/tcp", "\"33\" is no number of bits from 0 to 32"},
           {"203.0.113.0/:1/tcp", "\"\" is no number of bits"},
           {"203.0.113.0/024:1/tcp", "\"024\" is no number of bits"},
           {"203.0.113.0/24/24:1/tcp", "\"24/24\" is no number of bits"},
           {"203.0.113.0/255.255.255.0:1/tcp", "is no number of bits"},
           {"203.0.113.7/24:1/tcp", "203.0.113.7 has bits beyond its first 24: the network is 203.0.113.0/24"},
           {"0.0.0.1/0:1/tcp", "the network is 0.0.0.0/0"},
           {"[2001:db8::1/32]:1/tcp", "the network is 2001:db8::/32"},
           {"[2001:db8::/129]:1/tcp", "\"129\" is no number of bits from 0 to 128"},
           {"2001:db8::1:1/tcp", "an IPv6 address stands in brackets"},
           {"[2001:db8::1:1/tcp", "bracket"},
           {"[203.0.113.7]:1/tcp", "\"203.0.113.7\" is no IPv6 address"},
           {"[fe80::1%eth0]:1/tcp", "\"fe80::1%eth0\" is no IPv6 address"},
           {"[]:1/tcp", "\"\" is no IPv6 address"},
           {"[::ffff:203.0.113.7]:1/tcp", "\"::ffff:203.0.113.7\" is an IPv4 address"},
           {"[::ffff:cb00:7100/120]:1/tcp", "\"::ffff:cb00:7100\" is an IPv4 address"},
           {"[::ffff:0:0/96]:1/tcp", "is an IPv4 address"},
           // Texts that a resolver would take for addresses.
           {"10.1:1/tcp", "\"10.1\" is neither an IPv4 address nor the name of a host"},
           {"2130706433:1/tcp", "neither an IPv4 address nor"},
           {"0x7f000001:1/tcp", "neither an IPv4 address nor"},
           {"0X7f.0x1:1/tcp", "neither an IPv4 address nor"},
           {"0177.0.0.1:1/tcp", "neither an IPv4 address nor"},
           {"1.2.3.4.:1/tcp", "neither an IPv4 address nor"},
           {"256.0.0.1:1/tcp", "neither an IPv4 address nor"},
           {"log.example.org/24:1/tcp", "\"log.example.org\" is no IPv4 address"},
           {"-a:1/tcp", "neither an IPv4 address nor"},
           {"a-.b:1/tcp", "neither an IPv4 address nor"},
           {"a..b:1/tcp", "neither an IPv4 address nor"},
           {"a..:1/tcp", "neither an IPv4 address nor"},
           {".:1/tcp", "neither an IPv4 address nor"},
           {".a:1/tcp", "neither an IPv4 address nor"},
           {"a b:1/tcp", "neither an IPv4 address nor"},
           {"*:1/tcp", "neither an IPv4 address nor"},
           {"b\xc3\xbc:1/tcp", "neither an IPv4 address nor"},
           {label + ":1/tcp", "neither an IPv4 address nor"},
           {std::string("a\0b:1/tcp", 9), "neither an IPv4 address nor"},
           {std::string(300, 'a') + ":1/tcp", "too long"}}) {
    const auto parsed = parse_destination(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Errc::invalid);
    EXPECT_NE(parsed.error().message.find(why), std::string::npos) << text << " -> " << parsed.error().message;
    EXPECT_TRUE(parsed.error().message.starts_with("\"" + text.substr(0, 20))) << parsed.error().message;
    EXPECT_NE(parsed.error().message.find("expected as in"), std::string::npos);
  }
}

TEST(Destination, HoldsWhatIsWithinItsBorders) {
  struct Row {
    const char *destination, *address;
    uint16_t port;
    Protocol by;
    bool held;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"203.0.113.0/24:6514/tcp", "203.0.113.0", 6514, Protocol::tcp, true},
           {"203.0.113.0/24:6514/tcp", "203.0.113.255", 6514, Protocol::tcp, true},
           {"203.0.113.0/24:6514/tcp", "203.0.112.255", 6514, Protocol::tcp, false},
           {"203.0.113.0/24:6514/tcp", "203.0.114.0", 6514, Protocol::tcp, false},
           {"203.0.113.0/24:6514/tcp", "203.0.113.1", 6513, Protocol::tcp, false},
           {"203.0.113.0/24:6514/tcp", "203.0.113.1", 6515, Protocol::tcp, false},
           {"203.0.113.0/24:6514/tcp", "203.0.113.1", 6514, Protocol::udp, false},
           {"203.0.113.0/24:6514/tcp", "203.0.113.1", 0, Protocol::tcp, false},
           {"203.0.113.8/29:10-20/udp", "203.0.113.8", 10, Protocol::udp, true},
           {"203.0.113.8/29:10-20/udp", "203.0.113.15", 20, Protocol::udp, true},
           {"203.0.113.8/29:10-20/udp", "203.0.113.7", 10, Protocol::udp, false},
           {"203.0.113.8/29:10-20/udp", "203.0.113.16", 10, Protocol::udp, false},
           {"203.0.113.8/29:10-20/udp", "203.0.113.8", 9, Protocol::udp, false},
           {"203.0.113.8/29:10-20/udp", "203.0.113.8", 10, Protocol::tcp, false},
           {"203.0.113.8/29:10-20/udp", "203.0.113.8", 21, Protocol::udp, false},
           {"203.0.113.7:1-65535/tcp", "203.0.113.7", 65535, Protocol::tcp, true},
           {"203.0.113.7:1-65535/tcp", "203.0.113.6", 65535, Protocol::tcp, false},
           {"0.0.0.0/0:1/tcp", "255.255.255.255", 1, Protocol::tcp, true},
           {"0.0.0.0/0:1/tcp", "::", 1, Protocol::tcp, false},
           {"[::/0]:1/tcp", "203.0.113.7", 1, Protocol::tcp, false},
           {"[::/0]:1/tcp", "2001:db8::1", 1, Protocol::tcp, true},
           {"[2001:db8::/32]:53/udp", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 53, Protocol::udp, true},
           {"[2001:db8::/32]:53/udp", "2001:db9::", 53, Protocol::udp, false},
           {"[2001:db8::/32]:53/udp", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", 53, Protocol::udp, false},
           {"[2001:db8::8000:0:0:0/65]:53/udp", "2001:db8::8000:0:0:1", 53, Protocol::udp, true},
           {"[2001:db8::8000:0:0:0/65]:53/udp", "2001:db8::7fff:0:0:1", 53, Protocol::udp, false},
           {"[2001:db8::1]:53/udp", "2001:db8::1", 53, Protocol::udp, true},
           {"[2001:db8::1]:53/udp", "2001:db8::2", 53, Protocol::udp, false},
           {"log.example.org:1/tcp", "203.0.113.7", 1, Protocol::tcp, false}}) {
    const auto parsed = parse_destination(row.destination);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->holds(bytes(row.address), row.port, row.by), row.held)
        << row.destination << " " << row.address << " " << row.port;
  }
}

}  // namespace
}  // namespace oboro::proxy
