#include "disk/formats.h"

#include "tests/support/disk/testing.h"

namespace oboro::disk {
namespace {

using FormatsTest = testing::DirectoryTest;

TEST_F(FormatsTest, AreTheSameWhenTheyAreReadAgain) {
  auto formats = Formats::load(top_);
  ASSERT_TRUE(formats) << formats.error().message;
  EXPECT_EQ(formats->size(), 0u);
  const std::string odd = "/a \"b\",\\\n\xff\xc3\xa9";
  EXPECT_TRUE(*formats->set(odd, Format::qcow2));
  EXPECT_TRUE(*formats->set("/b", Format::qcow2));
  EXPECT_TRUE(*formats->set("/b", Format::raw));
  EXPECT_FALSE(*formats->set("/b", Format::raw));  // nothing new
  ASSERT_TRUE(formats->save(top_));

  const auto again = Formats::load(top_);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->size(), 2u);
  EXPECT_EQ(again->find(odd), Format::qcow2);
  EXPECT_EQ(again->find("/b"), Format::raw);
  EXPECT_FALSE(again->find("/c"));
}

TEST_F(FormatsTest, ADamagedFileIsAnErrorThatSaysWhatToDo) {
  for (const auto& [text, expected] : std::initializer_list<std::pair<std::string, std::string>>{
           {"", "not JSON"},
           {"{\"disks\":", "not JSON"},
           {std::string(100'000, '['), "not JSON"},
           {"[]", "no list \"disks\""},
           {"{}", "no list \"disks\""},
           {"{\"disks\":1}", "no list \"disks\""},
           {"{\"disks\":[1]}", "entry 1"},
           {"{\"disks\":[{\"path\":\"/a\"}]}", "entry 1"},
           {"{\"disks\":[{\"format\":\"raw\"}]}", "entry 1"},
           {"{\"disks\":[{\"path\":\"a\",\"format\":\"raw\"}]}", "entry 1"},
           {"{\"disks\":[{\"path\":\"/a\",\"format\":\"vmdk\"}]}", "entry 1"},
           {"{\"disks\":[{\"path\":\"/a\",\"format\":1}]}", "entry 1"},
           {"{\"disks\":[{\"path\":\"/a\\u0000\\u0000\",\"format\":\"raw\"}]}", "entry 1"},
           {"{\"disks\":[{\"path\":\"/a\",\"format\":\"raw\"},{\"path\":\"/a\",\"format\":\"qcow2\"}]}", "entry 2"}}) {
    write("disks.json", text);
    const auto formats = Formats::load(top_);
    ASSERT_FALSE(formats) << text;
    const std::string& message = formats.error().message;
    EXPECT_TRUE(message.starts_with(path("disks.json"))) << message;
    EXPECT_NE(message.find(expected), std::string::npos) << message;
    EXPECT_NE(message.find("remove it and give the format"), std::string::npos) << message;
  }
  std::filesystem::remove(path("disks.json"));
  std::filesystem::create_directory(path("disks.json"));
  EXPECT_FALSE(Formats::load(top_));
}

TEST_F(FormatsTest, TheirNumberIsBounded) {
  Formats formats;
  for (size_t i = 0; i < Formats::kMaxDisks; ++i) ASSERT_TRUE(formats.set("/" + std::to_string(i), Format::raw));
  const auto more = formats.set("/more", Format::raw);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Errc::limit);
  EXPECT_TRUE(formats.set("/0", Format::qcow2));
  ASSERT_TRUE(formats.save(top_));
  EXPECT_EQ(Formats::load(top_)->size(), Formats::kMaxDisks);
}

}  // namespace
}  // namespace oboro::disk
