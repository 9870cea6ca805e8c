#include "guest/passwd.h"

#include <gtest/gtest.h>
#include <map>

namespace oboro::guest {
namespace {

using Expected = std::map<uint32_t, std::string>;

Expected parsed(std::string_view text) {
  const UserNames names = parse_passwd(text);
  return {names.begin(), names.end()};
}

TEST(Passwd, NamesByNumber) {
  EXPECT_EQ(parsed("root:x:0:0:root:/root:/bin/bash\n"
                   "# a comment:x:5:5:::\n"
                   "\n"
                   "alice:x:1000:1000:Alice,,,:/home/alice:/bin/sh\n"
                   "j\xc3\xbcrgen:*:4294967294:0:::\n"),
            (Expected{{0, "root"}, {1000, "alice"}, {4294967294, "j\xc3\xbcrgen"}}));
  EXPECT_EQ(parsed(""), Expected{});
}

TEST(Passwd, TheFirstLineOfANumberCounts) {
  EXPECT_EQ(parsed("root:x:0:0:::\ntoor:x:0:0:::\n"), (Expected{{0, "root"}}));
  EXPECT_EQ(parsed("a\tb:x:7:0:::\nfine:x:7:0:::\n"), (Expected{{7, ""}})) << "whose it is, is known";
}

TEST(Passwd, AnEndWithoutANewline) {
  const std::string line = "alice:x:1000:1000:Alice:/home/alice:/bin/sh";
  EXPECT_EQ(parsed(line), (Expected{{1000, "alice"}}));
  // Wherever the text is cut, there is never another number, and never half a name.
  for (size_t size = 0; size < line.size(); ++size)
    for (const auto& [uid, name] : parsed(line.substr(0, size))) {
      EXPECT_EQ(uid, 1000u) << size;
      EXPECT_TRUE(name.empty() || name == "alice") << size;
      EXPECT_GE(size, line.find(":1000:") + 6);
    }
}

TEST(Passwd, WhatIsNoNumber) {
  for (const char* number : {"", "-1", "+1", " 1", "1 ", "0x1", "4294967296", "99999999999999999999", "1a"})
    EXPECT_EQ(parsed("a:x:" + std::string(number) + ":0:::\n"), Expected{}) << number;
  EXPECT_EQ(parsed("no colon at all\n:::\n1\n\xff\n"), Expected{});
}

TEST(Passwd, WhatIsNoName) {
  const std::string longest(kMaxUserName, 'n');
  EXPECT_EQ(parsed(longest + ":x:1:0:::\n"), (Expected{{1, longest}}));
  for (const std::string& name :
       {std::string(), longest + "n", std::string("+nis"), std::string("-nis"), std::string("a b"),
        std::string("\x1b[2J"), std::string("a\0b", 3), std::string("\xff"), std::string("\xc3"),
        std::string("\xe2\x80\xae"), std::string("a\r")})
    EXPECT_EQ(parsed(name + ":x:1:0:::\n"), (Expected{{1, ""}})) << name;
  EXPECT_EQ(parsed("a:x:1:0::\n"), (Expected{{1, ""}})) << "a colon too few";
  EXPECT_EQ(parsed("a:x:1:0::::\n"), (Expected{{1, "a"}})) << "part of the shell";
}

TEST(Passwd, LinesAreBounded) {
  std::string text;
  for (size_t i = 0; i < kMaxPasswdLines + 10; ++i) text += "u:x:" + std::to_string(i) + ":0:::\n";
  EXPECT_EQ(parsed(text).size(), kMaxPasswdLines);
  EXPECT_EQ(parsed(std::string(100'000, '\n') + "a:x:1:0:::\n"), Expected{});
}

}  // namespace
}  // namespace oboro::guest
