#include "supervisor/launch/destinations.h"

#include <gtest/gtest.h>
#include <map>

namespace oboro::supervisor {
namespace {

class DestinationsTest : public testing::Test {
 protected:
  // The host's resolver, whose answers are the test's.
  Result<Reach> reach() {
    return reach_of(service, [this](const std::string& name) -> Result<Addresses> {
      ++asked[name];
      if (!answers.count(name)) return Error{Errc::not_found, name + ": unknown"};
      Addresses out;
      for (const char* text : answers[name]) {
        const std::string bracketed =
            std::string(text).find(':') == std::string::npos ? text : "[" + std::string(text) + "]";
        out.push_back(proxy::parse_destination(bracketed + ":1/tcp")->network.base);
      }
      return out;
    });
  }
  std::vector<std::string> texts(const Reach& reach) {
    std::vector<std::string> out;
    for (const proxy::Destination& one : reach.destinations) out.push_back(one.text());
    return out;
  }

  link::HiddenService service{"logger", "/bin/x", "", false, true, {}};
  std::map<std::string, std::vector<const char*>> answers;
  std::map<std::string, int> asked;
};

TEST_F(DestinationsTest, AddressesAreWhatTheyAreAndNamesBecomeSome) {
  service.to = {"203.0.113.0/24:6514/tcp", "log.example:443/tcp", "log.example:53-54/udp"};
  answers["log.example"] = {"203.0.114.9", "2001:db8::9", "203.0.114.8", "203.0.114.9"};
  const auto found = reach();
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(texts(*found),
            (std::vector<std::string>{"203.0.113.0/24:6514/tcp", "[2001:db8::9]:443/tcp", "203.0.114.8:443/tcp",
                                      "203.0.114.9:443/tcp", "[2001:db8::9]:53-54/udp", "203.0.114.8:53-54/udp",
                                      "203.0.114.9:53-54/udp"}));
  EXPECT_EQ(asked["log.example"], 1) << "both ports are of the same addresses";
  EXPECT_EQ(found->said,
            std::vector<std::string>{
                "hidden service logger: for this run, log.example is 2001:db8::9, 203.0.114.8, 203.0.114.9"});
}

TEST_F(DestinationsTest, WhatIsNeverReachedIsNoneOfANamesAddresses) {
  service.to = {"log.example:443/tcp"};
  answers["log.example"] = {"127.0.1.1", "169.254.169.254", "203.0.114.9"};
  EXPECT_EQ(texts(*reach()), std::vector<std::string>{"203.0.114.9:443/tcp"});
  answers["log.example"] = {"127.0.1.1"};
  const auto nowhere = reach();
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().message, "hidden service logger: \"to\": log.example has no address that may be reached");
}

TEST_F(DestinationsTest, ANameThatNobodyKnowsIsAnError) {
  service.to = {"203.0.113.7:1/tcp", "none.example:443/tcp"};
  const auto found = reach();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::not_found);
  EXPECT_EQ(found.error().message, "hidden service logger: \"to\": none.example: unknown");
}

TEST_F(DestinationsTest, WithoutBoundsTheUserIsTold) {
  const auto everywhere = reach();
  ASSERT_TRUE(everywhere);
  EXPECT_TRUE(everywhere->destinations.empty());
  ASSERT_EQ(everywhere->said.size(), 1u);
  EXPECT_NE(everywhere->said[0].find("logger has no \"to\""), std::string::npos) << everywhere->said[0];
  service.to.emplace();
  EXPECT_TRUE(reach()->said.empty()) << "nowhere is a bound";
  service.to.reset();
  service.network = false;
  EXPECT_TRUE(reach()->said.empty());
}

TEST_F(DestinationsTest, ThereAreNotAnyNumberOfThem) {
  service.to = std::vector<std::string>(1025, "203.0.113.7:1/tcp");
  const auto found = reach();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::limit);
}

// By the host's resolver, but not by anybody's name server.
TEST(Resolve, ThisHostsOwnFileOfNames) {
  const auto here = resolve("localhost");
  if (!here) GTEST_SKIP() << "this host: " << here.error().message;
  for (const auto& address : *here)
    EXPECT_TRUE(proxy::address_text(address).starts_with("127.") || proxy::address_text(address) == "::1");
}

}  // namespace
}  // namespace oboro::supervisor
