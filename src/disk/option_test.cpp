#include "disk/option.h"

#include <gtest/gtest.h>

namespace oboro::disk {
namespace {

TEST(DiskOption, AFileAlone) {
  for (const auto& [text, file] :
       std::initializer_list<std::pair<std::string, std::string>>{{"debian.qcow2", "debian.qcow2"},
                                                                  {"a,,b", "a,b"},
                                                                  {",,,,", ",,"},
                                                                  {"json:{},,x=y", "json:{},x=y"},
                                                                  {"k=v", "k=v"}}) {
    const auto disk = parse_option(text);
    ASSERT_TRUE(disk) << disk.error().message;
    ASSERT_EQ(disk->images.size(), 1u) << text;
    EXPECT_EQ(disk->images[0].file, file);
    EXPECT_FALSE(disk->images[0].format);
    EXPECT_TRUE(disk->images[0].data.empty());
  }
}

TEST(DiskOption, AChainIsNamedFromTheTopDown) {
  const auto disk = parse_option("top,backing=mid,,dle,backing-format=qcow2,data=d,backing=base,backing-format=raw");
  ASSERT_TRUE(disk) << disk.error().message;
  ASSERT_EQ(disk->images.size(), 3u);
  EXPECT_EQ(disk->images[0].format, Format::qcow2);  // an image with a backing file can have no other format
  EXPECT_EQ(disk->images[1].file, "mid,dle");
  EXPECT_EQ(disk->images[1].format, Format::qcow2);
  EXPECT_EQ(disk->images[1].data, "d");
  EXPECT_EQ(disk->images[2].file, "base");
  EXPECT_EQ(disk->images[2].format, Format::raw);
}

TEST(DiskOption, FormatsAndDataFiles) {
  EXPECT_EQ(parse_option("a,format=raw")->images[0].format, Format::raw);
  EXPECT_EQ(parse_option("a,format=qcow2,data=b=c")->images[0].data, "b=c");
  EXPECT_EQ(parse_option("a,data=b")->images[0].format, Format::qcow2);
}

TEST(DiskOption, ErrorsSayWhat) {
  std::string many = "a";
  for (size_t i = 0; i < Disk::kMaxImages; ++i) many += ",backing=b,backing-format=qcow2";
  for (const auto& [text, expected] : std::initializer_list<std::pair<std::string, std::string>>{
           {"", "without a name"},
           {",format=raw", "without a name"},
           {std::string("a\0b", 3), "NUL"},
           {"a,b", "\"b\" is not known"},
           {"a,", "\"\" is not known"},
           {"a,format=vmdk", "neither raw nor qcow2"},
           {"a,format", "neither raw nor qcow2"},
           {"a,format=raw,format=raw", "twice"},
           {"a,data=b,data=c", "twice"},
           {"a,data=", "without a name"},
           {"a,format=raw,data=b", "no data file"},
           {"a,data=b,format=raw", "no data file"},
           {"a,format=raw,backing=b", "no backing file"},
           {"a,backing=b", "say what \"b\" is"},
           {"a,backing=b,backing=c,backing-format=raw", "say what \"b\" is"},
           {"a,backing=b,backing-format=raw,backing=c,backing-format=raw", "no backing file"},
           {"a,backing=b,backing-format=raw,data=c", "no data file"},
           {"a,backing=b,format=raw", "before backing"},
           {"a,backing-format=raw", "without a backing file"},
           {many, "more than 16"}}) {
    const auto disk = parse_option(text);
    ASSERT_FALSE(disk) << text;
    EXPECT_NE(disk.error().message.find(expected), std::string::npos) << disk.error().message;
  }
}

}  // namespace
}  // namespace oboro::disk
