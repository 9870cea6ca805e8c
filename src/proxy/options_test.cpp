// What the command line says, of what has no descriptors: those are for proxy_process_test.cpp.
#include "proxy/options.h"

#include <gtest/gtest.h>

namespace oboro::proxy {
namespace {

Result<Options> parsed(std::vector<std::string> words) {
  words.insert(words.begin(), {"init", "--network", "remote"});
  return parse_options(words);
}

TEST(Options, WhereItMayGo) {
  const auto anywhere = parsed({});
  ASSERT_TRUE(anywhere);
  EXPECT_FALSE(anywhere->to);
  EXPECT_FALSE(anywhere->confinement.connect) << "to any port";

  const auto some = parsed({"--to", "203.0.113.0/24:80/tcp", "--to", "[2001:db8::1]:443-445/tcp", "--to",
                            "203.0.113.7:444-445/tcp", "--to", "203.0.113.7:53/udp"});
  ASSERT_TRUE(some) << some.error().message;
  ASSERT_EQ(some->to->size(), 4u);
  EXPECT_EQ((*some->to)[1].text(), "[2001:db8::1]:443-445/tcp");
  EXPECT_EQ(some->confinement.connect, (std::set<uint16_t>{80, 443, 444, 445}));

  const auto nowhere = parsed({"--to", "none"});
  ASSERT_TRUE(nowhere);
  EXPECT_TRUE(nowhere->to && nowhere->to->empty());
  EXPECT_TRUE(nowhere->confinement.connect && nowhere->confinement.connect->empty());
}

TEST(Options, PortsThatAreTooManyForTheKernel) {
  EXPECT_EQ(parsed({"--to", "203.0.113.7:1-4096/tcp"})->confinement.connect->size(), 4096u);
  EXPECT_FALSE(parsed({"--to", "203.0.113.7:1-4096/tcp", "--to", "203.0.113.7:65535/tcp"})->confinement.connect);
  EXPECT_TRUE(parsed({"--to", "203.0.113.7:1-65535/udp"})->confinement.connect->empty());
}

}  // namespace
}  // namespace oboro::proxy
