#include "link/messages.h"

#include <gtest/gtest.h>

namespace oboro::link {
namespace {

std::string code_of(const Body& body) {
  const auto envelope = decode(encode(body, 0));
  return envelope ? std::string(name_of(type_of(envelope->body))) : envelope.error().message;
}

TEST(Messages, ComeBackAsTheyWere) {
  const std::string bytes = encode(Armed{"6.1.0", std::string("a\0b", 3), 35, true, uint64_t{1} << 63}, 77);
  const auto envelope = decode(bytes);
  ASSERT_TRUE(envelope) << envelope.error().message;
  EXPECT_EQ(envelope->request, 77u);
  const auto* armed = std::get_if<Armed>(&envelope->body);
  ASSERT_NE(armed, nullptr);
  EXPECT_EQ(armed->release, "6.1.0");
  EXPECT_EQ(armed->build_id, std::string("a\0b", 3));
  EXPECT_EQ(armed->hooks, 35u);
  EXPECT_TRUE(armed->cached);
  EXPECT_EQ(armed->microseconds, uint64_t{1} << 63);
  for (const Body& body : {Body(Reset{}), Body(Ping{}), Body(Stats{}), Body(Failed{"why"})})
    EXPECT_EQ(code_of(body), name_of(type_of(body)));
}

TEST(Messages, AsText) {
  EXPECT_EQ(text_of(Armed{"6.1.0", "0123", 35, true, 1500}),
            "release 6.1.0\nbuild_id 0123\nhooks 35\ncached true\nmicroseconds 1500\n");
  EXPECT_EQ(text_of(Done{}), "");
}

TEST(Messages, AnythingElseIsRefused) {
  const std::string bytes = encode(Armed{"6.1.0", "0123", 35, true, 1500}, 1);
  for (size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode(bytes.substr(0, size))) << size;
  EXPECT_FALSE(decode(bytes + "x"));
  const auto with = [&](size_t at, char value) {
    std::string changed = bytes;
    changed[at] = value;
    const auto envelope = decode(changed);
    return envelope ? std::string() : envelope.error().message;
  };
  EXPECT_NE(with(0, kProtocol + 1).find("two builds"), std::string::npos);
  EXPECT_NE(with(1, '\xff').find("type 255 is not understood"), std::string::npos);
  EXPECT_NE(with(2, 1).find("not understood"), std::string::npos);
  EXPECT_NE(with(11, '\x7f').find("Armed is malformed"), std::string::npos) << "longer than there are bytes";
  EXPECT_NE(with(bytes.size() - 9, 2).find("Armed is malformed"), std::string::npos) << "a flag is 0 or 1";
  EXPECT_EQ(decode(encode(Failed{std::string(kMaxMessage, 'x')}, 0)).error().code, Errc::limit);
}

}  // namespace
}  // namespace oboro::link
