#include "disk/resolve.h"

#include <sys/stat.h>
#include <unistd.h>

#include "disk/formats.h"
#include "tests/support/disk/testing.h"

namespace oboro::disk {
namespace {

using testing::qcow2_image;

class ResolveTest : public testing::DirectoryTest {
 protected:
  Result<std::vector<ResolvedDisk>> run(const std::string& option) const {
    auto disk = parse_option(option);
    if (!disk) return disk.error();
    return resolve({*disk}, top_);
  }
  std::optional<Format> remembered(const std::string& file) const { return Formats::load(top_)->find(file); }
};

const std::string kRaw(4096, 'x');

// Every combination of the format that is given, the one that is remembered, and the one that the disk looks like.
TEST_F(ResolveTest, WhichFormat) {
  const auto raw = Format::raw, qcow2 = Format::qcow2;
  const std::optional<Format> none;
  struct Case {
    std::optional<Format> given, remembered;
    Format looks;
    std::optional<Format> result;  // none: refused
    const char* refusal;
  };
  for (const Case& c : std::initializer_list<Case>{{none, none, raw, raw, ""},
                                                   {none, none, qcow2, qcow2, ""},
                                                   {none, raw, raw, raw, ""},
                                                   {none, raw, qcow2, none, "was raw in earlier runs"},
                                                   {none, qcow2, raw, none, "was qcow2 in earlier runs"},
                                                   {none, qcow2, qcow2, qcow2, ""},
                                                   {raw, none, raw, raw, ""},
                                                   {raw, none, qcow2, raw, ""},
                                                   {raw, raw, raw, raw, ""},
                                                   {raw, raw, qcow2, raw, ""},
                                                   {raw, qcow2, raw, raw, ""},
                                                   {raw, qcow2, qcow2, raw, ""},
                                                   {qcow2, none, raw, none, "does not begin as a qcow2"},
                                                   {qcow2, none, qcow2, qcow2, ""},
                                                   {qcow2, raw, raw, none, "does not begin as a qcow2"},
                                                   {qcow2, raw, qcow2, qcow2, ""},
                                                   {qcow2, qcow2, raw, none, "does not begin as a qcow2"},
                                                   {qcow2, qcow2, qcow2, qcow2, ""}}) {
    const std::string file = write("disk", c.looks == raw ? kRaw : qcow2_image());
    Formats formats;
    if (c.remembered) {
      ASSERT_TRUE(formats.set(file, *c.remembered));
    }
    ASSERT_TRUE(formats.save(top_));
    const auto disks = run(file + (c.given ? ",format=" + std::string(name(*c.given)) : ""));
    const auto word = [](std::optional<Format> format) { return std::string(format ? name(*format) : "nothing"); };
    SCOPED_TRACE("given " + word(c.given) + ", remembered " + word(c.remembered) + ", looks " + word(c.looks));
    ASSERT_EQ(bool(disks), c.result.has_value()) << (disks ? "" : disks.error().message);
    if (disks) {
      EXPECT_EQ((*disks)[0][0].format, c.result);
    } else {
      EXPECT_NE(disks.error().message.find(file + ": "), std::string::npos);
      EXPECT_NE(disks.error().message.find(c.refusal), std::string::npos) << disks.error().message;
    }
    EXPECT_EQ(remembered(file), disks ? c.result : c.remembered);
  }
}

TEST_F(ResolveTest, ARawDiskStaysOneWhateverItsGuestWrites) {
  const std::string file = write("disk", kRaw);
  ASSERT_TRUE(run(file));
  write("disk", qcow2_image({.backing = "/etc/shadow", .backing_format = "raw"}));
  for (const std::string& again : {file, path("./disk")}) {
    const auto disks = run(again);
    ASSERT_FALSE(disks);
    EXPECT_NE(disks.error().message.find("format=raw"), std::string::npos) << disks.error().message;
  }
  // The same by another name.
  ASSERT_EQ(symlink(file.c_str(), path("link").c_str()), 0);
  EXPECT_FALSE(run(path("link")));
  const auto given = run(file + ",format=raw");
  ASSERT_TRUE(given) << given.error().message;
  EXPECT_EQ((*given)[0][0].format, Format::raw);
}

// Every way to a file that the user did not name, with the format guessed, given and remembered.
TEST_F(ResolveTest, NothingIsOpenedThatWasNotNamed) {
  const std::string secret = write("secret", kRaw), plain = write("plain", qcow2_image());
  const std::string leaky = write("leaky", qcow2_image({.backing = secret, .backing_format = "raw"}));
  const std::string data = write("data", qcow2_image({.data_bit = true, .data = secret}));
  const std::string unnamed = write("unnamed", qcow2_image({.data_bit = true}));
  const std::string json = write("json", qcow2_image({.backing = "json:{\"driver\":\"nbd\",\"host\":\"h\"}"}));
  const std::string remote = write("remote", qcow2_image({.backing = "nbd:localhost:10809"}));
  Formats formats;
  for (const std::string& file : {leaky, data, unnamed, json, remote}) ASSERT_TRUE(formats.set(file, Format::qcow2));
  for (const bool remembers : {false, true}) {
    ASSERT_TRUE((remembers ? formats : Formats{}).save(top_));
    for (const auto& [option, refusal] : std::initializer_list<std::pair<std::string, std::string>>{
             {leaky, "names the backing file \"" + secret + "\" (raw)"},
             {data, "names the data file \"" + secret + "\""},
             {unnamed, "names the data file \"\""},
             {json, "names the backing file \"json:{"},
             {remote, "names the backing file \"nbd:"},
             // A backing file of the one that was named; and that one's data file.
             {leaky + ",backing=" + leaky + ",backing-format=qcow2", "names the backing file"},
             {leaky + ",backing=" + data + ",backing-format=qcow2", "names the data file"},
             // A file was named, and the image wants the other kind.
             {leaky + ",data=" + secret, "names the backing file"},
             {data + ",backing=" + secret + ",backing-format=raw", "names the data file"}})
      for (const std::string given : {"", ",format=qcow2"}) {
        const size_t comma = std::min(option.find(','), option.size());
        const auto disks = run(option.substr(0, comma) + given + option.substr(comma));
        ASSERT_FALSE(disks) << option;
        EXPECT_NE(disks.error().message.find(refusal), std::string::npos) << disks.error().message;
        EXPECT_NE(disks.error().message.find("not opened"), std::string::npos) << disks.error().message;
        // Only a guessed format may come from what the guest wrote.
        EXPECT_EQ(disks.error().message.find("FILE,format=raw") != std::string::npos,
                  !remembers && option.find(',') == std::string::npos && given.empty())
            << disks.error().message;
      }
  }
}

TEST_F(ResolveTest, WhatWasNamed) {
  const std::string base = write("base", kRaw);
  const std::string middle = write("middle", qcow2_image({.backing = "whatever it says"}));
  const std::string top = write("top", qcow2_image({.backing = "middle", .data_bit = true}));
  const auto disks = run(top + ",data=" + base + ",backing=" + middle + ",backing-format=qcow2,backing=" + base +
                         ",backing-format=raw");
  ASSERT_TRUE(disks) << disks.error().message;
  const ResolvedDisk& disk = disks->front();
  ASSERT_EQ(disk.size(), 3u);
  EXPECT_EQ(disk[0].data->path, base);
  EXPECT_EQ(disk[1].file.path, middle);
  EXPECT_FALSE(disk[1].data);
  EXPECT_EQ(disk[2].file.path, base);
  EXPECT_EQ(disk[2].format, Format::raw);
  // A backing file may be the disk of another guest. So its format is given each time.
  EXPECT_EQ(remembered(top), Format::qcow2);
  EXPECT_FALSE(remembered(middle));
  // A raw backing file is raw, whatever it contains.
  EXPECT_EQ((*run(middle + ",backing=" + top + ",backing-format=raw"))[0][1].format, Format::raw);
}

TEST_F(ResolveTest, WhatCannotBeADisk) {
  write("empty", "");
  write("bad", "QFI\xfb");
  const std::string plain = write("plain", qcow2_image());
  write("raw", kRaw);
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  for (const auto& [option, expected] : std::initializer_list<std::pair<std::string, std::string>>{
           {"none", "No such file"},
           {"empty", "is empty"},
           {"fifo", "neither a file nor a block device"},
           {"bad", "is damaged"},
           {"plain,backing=" + plain + ",backing-format=raw", "names no backing file"},
           {"plain,data=" + plain, "names no data file"}}) {
    const auto disks = run(path(option));
    ASSERT_FALSE(disks) << option;
    EXPECT_NE(disks.error().message.find(expected), std::string::npos) << disks.error().message;
  }
  EXPECT_FALSE(std::filesystem::exists(path("disks.json")));  // no disk was used
}

TEST_F(ResolveTest, ADamagedMemoryIsNoReasonToGuess) {
  const std::string file = write("disk", kRaw);
  write("disks.json", "{");
  EXPECT_FALSE(run(file));
  EXPECT_FALSE(run(file + ",format=raw"));
  EXPECT_TRUE(resolve({}, top_));  // without disks it does not matter
}

}  // namespace
}  // namespace oboro::disk
