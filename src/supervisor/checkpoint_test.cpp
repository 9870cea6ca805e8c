#include "supervisor/checkpoint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <span>

#include "stream/crc32c.h"

namespace oboro::supervisor {
namespace {

const std::string kFs = "11111111-2222-3333-4444-555555555555";

Checkpoint example() {
  Checkpoint out;
  out.cursor = {0x1f2e3d4c, 20480, 57, 0x0a1b2c3d};
  out.labels = {{0, "plan"}, {5, "hr"}};
  out.state.next_id = 58;
  out.state.last_seq = 60;
  out.state.boot = 3;
  out.places = {{{0x1f2e3d4c, 300, 7, 0x12345678}, 7}, {{0x1f2e3d4c, 20480, 57, 0x0a1b2c3d}, 60}};
  out.state.last_rename = {kFs, "/srv/a b", "/srv/100%", 51};
  out.state.files = {
      {kFs, "ext4", 1001, 7, 1, 1, {"/srv/a", "/srv/\xff\n\x7f\xc3\xa4"}, ""},
      {kFs, "ext4", 1002, 7, 0x21, 3, {}, "/srv/gone"},
      {"other", "", ~uint64_t{0}, ~uint32_t{0}, 0x20, 57, {}, ""},
  };
  return out;
}

std::string with_head(const std::string& body, int version = 1) {
  return fmt::format("oboro-checkpoint {} {:08x}\n", version, stream::crc32c(std::as_bytes(std::span(body)))) + body;
}

std::string refused(const std::string& text) {
  const auto parsed = Checkpoint::parse(text, "DIR/checkpoint");
  return parsed ? "is taken" : parsed.error().message;
}

TEST(Checkpoint, IsTextAndReadBackAsItWas) {
  const std::string text = example().format();
  EXPECT_EQ(text.substr(text.find('\n') + 1),
            "cursor 1f2e3d4c:20480:57:0a1b2c3d\n"
            "next-id 58\n"
            "last-seq 60\n"
            "boot 3\n"
            "label 0 plan\n"
            "label 5 hr\n"
            "place 1f2e3d4c:300:7:12345678 7\n"
            "place 1f2e3d4c:20480:57:0a1b2c3d 60\n"
            "renamed 51 11111111-2222-3333-4444-555555555555 /srv/a%20b /srv/100%25\n"
            "fs 11111111-2222-3333-4444-555555555555 ext4\n"
            "file 1001 7 1 1\n"
            "name /srv/a\n"
            "name /srv/\xff%0a%7f\xc3\xa4\n"
            "file 1002 7 21 3\n"
            "last-name /srv/gone\n"
            "fs other \n"
            "file 18446744073709551615 4294967295 20 57\n");
  const auto parsed = Checkpoint::parse(text, "here");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, example());
}

TEST(Checkpoint, AnyDamageIsFound) {
  const std::string text = example().format();
  for (size_t size = 0; size < text.size(); ++size) EXPECT_NE(refused(text.substr(0, size)), "is taken") << size;
  for (size_t at = 0; at < text.size(); ++at)
    for (const int bit : {0, 3, 5, 7}) {
      std::string damaged = text;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      EXPECT_NE(refused(damaged), "is taken") << at << " bit " << bit;
    }
  EXPECT_EQ(refused(text + "\n"), "DIR/checkpoint: is damaged (its checksum is another)");
}

TEST(Checkpoint, SaysWhatIsWrong) {
  EXPECT_EQ(refused(""), "DIR/checkpoint: is no checkpoint");
  EXPECT_EQ(refused("{}\n"), "DIR/checkpoint: is no checkpoint");
  EXPECT_EQ(refused(with_head("cursor 1f2e3d4c:20480:57:0a1b2c3d\n", 2)), "DIR/checkpoint: is of version 2, not 1");
  EXPECT_EQ(Checkpoint::parse(with_head("", 2), "").error().code, Errc::unsupported);
  EXPECT_EQ(refused(with_head("")), "DIR/checkpoint: has no cursor");
  const std::string begin =
      "cursor 1f2e3d4c:20480:57:0a1b2c3d\nnext-id 58\nboot 3\nlabel 0 plan\nfs " + kFs + " ext4\n";
  EXPECT_EQ(refused(with_head(begin)), "is taken");
  EXPECT_EQ(refused(with_head(begin + "file 1 1 1 57\nname /a\nname /b\n")), "is taken");
  // The whole journal's beginning is in any journal: it would be anybody's checkpoint.
  EXPECT_EQ(refused(with_head("cursor 00000000:0:0:00000000\n")), "DIR/checkpoint: line 2 is no cursor");
  const struct {
    std::string line, why;
  } kCases[] = {
      {"", "begins with no word that is known"},
      {"nonsense", "begins with no word that is known"},
      {"cursor 1f2e3d4c:20480:57:0a1b2c3d", "is no cursor"},
      {"next-id 0", "is no ID"},
      {"next-id 72057594037927937", "is no ID"},
      {"next-id -1", "is no ID"},
      {"boot 4294967296", "is no number of a boot"},
      {"last-seq x", "is no number of an event"},
      {"place 1f2e3d4c:300:7:12345678", "is no place behind the one before it"},
      {"place 00000000:0:0:00000000 0", "is no place behind the one before it"},
      {"place 1f2e3d4c:20481:57:0a1b2c3d 60", "is no place behind the one before it"},
      {"label 0 other", "is no label, or is there twice"},
      {"label 1 plan", "is no label, or is there twice"},
      {"label 64 x", "is no label, or is there twice"},
      {"label -1 x", "is no label, or is there twice"},
      {"label 1 a/b", "is no label, or is there twice"},
      {"renamed x fs /a /b", "is no rename"},
      {"renamed 1 fs /a /%2", "is no rename"},
      {"fs dev%200:23 tmpfs", "is no file system that outlives a boot"},
      {"fs", "is no file system that outlives a boot"},
      {"fs a b c", "is no file system that outlives a boot"},
      {"name /a", "is no name of the file before it"},
      {"file 1 1 1", "is no file"},
      {"file 1 1 1 1 1", "is no file"},
      {"file 1 4294967296 1 1", "is no file"},
      {"file 1 1 0 1", "is a file with labels that have no name"},
      {"file 1 1 2 1", "is a file with labels that have no name"},
      {"file 1 1 1 0", "is a file whose ID is not above those before it"},
      {"file 1 1 1 72057594037927936", "is a file whose ID is not above those before it"},
  };
  for (const auto& [line, why] : kCases)
    EXPECT_EQ(refused(with_head(begin + line + "\n")), "DIR/checkpoint: line 7 " + why) << line;
  EXPECT_EQ(refused(with_head(begin + "file 1 1 1 58\n")), "DIR/checkpoint: has an ID that is not given yet");
  EXPECT_EQ(refused(with_head(begin + "file 1 1 1 1")), "DIR/checkpoint: line 7 is cut off");
  const std::string place = begin + "place 1f2e3d4c:300:7:12345678 7\n";
  EXPECT_EQ(refused(with_head(place + "place 1f2e3d4c:301:8:12345678 7\n")), "is taken");
  for (const std::string line : {"place 1f2e3d4c:300:8:12345678 7", "place 1f2e3d4c:301:8:12345678 6"})
    EXPECT_EQ(refused(with_head(place + line + "\n")), "DIR/checkpoint: line 8 is no place behind the one before it");
  const std::string file = begin + "file 1 1 1 5\n";
  for (const std::string line : {"file 1 1 1 5", "file 1 1 1 4"})
    EXPECT_EQ(refused(with_head(file + line + "\n")),
              "DIR/checkpoint: line 8 is a file whose ID is not above those before it");
  for (const std::string line : {"name", "name a", "name /a%", "name /a%2", "name /a%xx", "name /a b", "last-name "})
    EXPECT_EQ(refused(with_head(file + line + "\n")), "DIR/checkpoint: line 8 is no name of the file before it");
  EXPECT_NE(refused(with_head(file + "name /a\nlast-name /b\n")), "is taken");
  EXPECT_NE(refused(with_head(file + "last-name /b\nname /a\n")), "is taken");
  EXPECT_EQ(refused(with_head("cursor 1f2e3d4c:20480:57:0a1b2c3d\nlabel 0 plan\nfile 1 1 1 1\n")),
            "DIR/checkpoint: line 4 is a file of no file system");
}

}  // namespace
}  // namespace oboro::supervisor
