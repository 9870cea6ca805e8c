#include "disk/qcow2.h"

#include <gtest/gtest.h>

#include "tests/support/disk/testing.h"

namespace oboro::disk {
namespace {

using testing::put32;
using testing::put64;
using testing::qcow2_image;

TEST(Qcow2, NamesNothing) {
  const auto header = parse_qcow2(qcow2_image());
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_FALSE(header->backing || header->data);
  EXPECT_TRUE(parse_qcow2(qcow2_image().substr(0, 104)));
}

TEST(Qcow2, NamesABackingFile) {
  auto header = parse_qcow2(qcow2_image({.backing = "json:{\"driver\":\"nbd\"}", .backing_format = "raw"}));
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->backing, "json:{\"driver\":\"nbd\"}");
  EXPECT_EQ(header->backing_format, "raw");

  // QEMU goes by the offset.
  std::string unnamed = qcow2_image();
  put64(unnamed, 8, 200);
  header = parse_qcow2(unnamed);
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->backing, "");
}

TEST(Qcow2, Version2) {
  std::string image = qcow2_image();
  put32(image, 4, 2);
  image.replace(72, 32, 32, '\0');
  put64(image, 72, 0);
  put64(image, 8, 72);
  put32(image, 16, 11);
  image.replace(72, 11, "/etc/shadow");
  const auto header = parse_qcow2(image);
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->backing, "/etc/shadow");
  EXPECT_FALSE(header->data);  // feature bits are of version 3
  EXPECT_EQ(*parse_qcow2(image.substr(0, 83))->backing, "/etc/shadow");
  EXPECT_FALSE(parse_qcow2(image.substr(0, 82)));
}

TEST(Qcow2, NamesADataFile) {
  const auto named = parse_qcow2(qcow2_image({.data_bit = true, .data = "/etc/shadow"}));
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_EQ(named->data, "/etc/shadow");
  const auto unnamed = parse_qcow2(qcow2_image({.data_bit = true}));
  ASSERT_TRUE(unnamed) << unnamed.error().message;
  EXPECT_EQ(unnamed->data, "");
}

TEST(Qcow2, AHeaderThatIsCutOffIsAnError) {
  const std::string image = qcow2_image({.backing = "base", .backing_format = "raw", .data_bit = true, .data = "data"});
  ASSERT_TRUE(parse_qcow2(image));
  const size_t end = image.find("base") + 4;
  for (size_t size = 0; size < end; ++size) EXPECT_FALSE(parse_qcow2(image.substr(0, size))) << size;
}

TEST(Qcow2, WhatCannotBe) {
  struct Case {
    const char* expected;
    void (*damage)(std::string&);
  };
  for (const Case& c :
       std::initializer_list<Case>{{"does not begin", [](std::string& h) { h[3] = 'x'; }},
                                   {"version 1", [](std::string& h) { put32(h, 4, 1); }},
                                   {"version 4294967295", [](std::string& h) { put32(h, 4, ~0u); }},
                                   {"cluster size", [](std::string& h) { put32(h, 20, 8); }},
                                   {"cluster size", [](std::string& h) { put32(h, 20, 22); }},
                                   {"cluster size", [](std::string& h) { put32(h, 20, ~0u); }},
                                   {"its own size", [](std::string& h) { put32(h, 100, 103); }},
                                   {"its own size", [](std::string& h) { put32(h, 100, ~0u); }},
                                   {"outside of it", [](std::string& h) { put64(h, 8, 1); }},
                                   {"outside of it", [](std::string& h) { put64(h, 8, (1 << 16) - 3); }},
                                   {"outside of it", [](std::string& h) { put64(h, 8, ~uint64_t{0}); }},
                                   {"outside of it", [](std::string& h) { put32(h, 16, 1024); }},
                                   {"outside of it", [](std::string& h) { put32(h, 16, ~0u); }},
                                   {"longer than the room", [](std::string& h) { put32(h, 108, ~0u); }},
                                   {"too long", [](std::string& h) { put64(h, 8, 0), put32(h, 108, 2000); }},
                                   {"says that it has none", [](std::string& h) { put32(h, 104, 0x44415441); }}}) {
    std::string image = qcow2_image({.backing = "base", .backing_format = "raw"});
    c.damage(image);
    const auto header = parse_qcow2(image);
    ASSERT_FALSE(header) << c.expected;
    EXPECT_NE(header.error().message.find(c.expected), std::string::npos) << header.error().message;
  }
}

}  // namespace
}  // namespace oboro::disk
