#include "proxy/wire.h"

#include <cstring>
#include <gtest/gtest.h>
#include <string>

namespace oboro::proxy {
namespace {

std::vector<std::byte> whole(const Frame& frame) {
  const auto header = header_of(frame);
  std::vector<std::byte> bytes(header.begin(), header.end());
  bytes.insert(bytes.end(), frame.first.begin(), frame.first.end());
  bytes.insert(bytes.end(), frame.second.begin(), frame.second.end());
  return bytes;
}

Frame example() {
  Frame frame;
  frame.op = Op::rename;
  frame.id = 0x1122334455667788;
  frame.handle = 7;
  frame.arguments = {1, -2, 3, INT64_MIN};
  frame.first = bytes_of("/from");
  frame.second = bytes_of("/to");
  return frame;
}

TEST(Wire, WhatIsWrittenIsRead) {
  const auto bytes = whole(example());
  const auto frame = parse(bytes);
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->op, Op::rename);
  EXPECT_EQ(frame->id, 0x1122334455667788u);
  EXPECT_EQ(frame->handle, 7u);
  EXPECT_EQ(frame->arguments, example().arguments);
  EXPECT_EQ(frame->text(), "/from");
  EXPECT_EQ(frame->second_text(), "/to");
}

TEST(Wire, AnythingElseIsNone) {
  const auto good = whole(example());
  for (size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(parse(std::span(good).first(size))) << size;
  auto longer = good;
  longer.push_back({});
  EXPECT_FALSE(parse(longer));
  auto with = [&](size_t at, uint32_t value) {
    auto bytes = good;
    std::memcpy(bytes.data() + at, &value, sizeof value);
    return bytes;
  };
  EXPECT_FALSE(parse(with(0, 0)));
  EXPECT_FALSE(parse(with(0, UINT32_MAX)));
  EXPECT_FALSE(parse(with(4, static_cast<uint32_t>(Op::count))));
  EXPECT_FALSE(parse(with(4, 0x10000 | static_cast<uint32_t>(Op::rename)))) << "what must be zero";
  EXPECT_FALSE(parse(with(20, 9))) << "a first part that is longer than both";
  EXPECT_FALSE(parse(with(20, UINT32_MAX)));
  EXPECT_TRUE(parse(with(20, 8))) << "no second part";
}

TEST(Wire, SizesHaveABound) {
  std::vector<std::byte> data(kMaxData + kMaxPath + 1);
  Frame frame;
  frame.first = std::span(data).first(kMaxData);
  frame.second = std::span(data).first(kMaxPath);
  EXPECT_TRUE(parse(whole(frame)));
  frame.second = std::span(data).first(kMaxPath + 1);
  EXPECT_FALSE(parse(whole(frame)));
}

}  // namespace
}  // namespace oboro::proxy
