#include "link/settings.h"

#include <gtest/gtest.h>

namespace oboro::link {
namespace {

Settings example() {
  Settings settings;
  settings.rules = {{"/srv/secret/** with blanks", 0x1}, {"*.key", UINT64_MAX}};
  KnownFile file;
  for (uint8_t i = 0; i < 16; ++i) file.identity.uuid[i] = static_cast<uint8_t>(0xf0 + i);
  file.identity.inode = UINT64_MAX;
  file.identity.generation = UINT32_MAX;
  file.labels = 0x8000000000000001;
  file.id = 42;
  settings.files = {file, {}};
  labels::NamedPlaces places(UINT64_MAX);
  places.add_name("fs", "/srv/secret/plan");
  settings.places = places.content();
  settings.labels_missing = true;
  settings.first_id = 43;
  settings.first_seq = 1000;
  settings.boot = 7;
  settings.capacity = 4096;
  settings.policy.leak = policy::Verdict::deny;
  settings.policy.on(policy::Trouble::supervisor_loss) = policy::Reaction::detach;
  settings.policy.on(policy::Trouble::journal) = policy::Reaction::pause;
  return settings;
}

TEST(Settings, RoundTrip) {
  const Settings settings = example();
  const Result<Settings> parsed = Settings::parse(settings.format());
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->format(), settings.format());
  ASSERT_EQ(parsed->rules.size(), 2u);
  EXPECT_EQ(parsed->rules[0].pattern, "/srv/secret/** with blanks");
  EXPECT_EQ(parsed->rules[1].labels, UINT64_MAX);
  ASSERT_EQ(parsed->files.size(), 2u);
  EXPECT_EQ(parsed->files[0].identity.hash(), settings.files[0].identity.hash());
  EXPECT_EQ(parsed->files[0].labels, 0x8000000000000001);
  EXPECT_EQ(parsed->files[0].id, 42u);
  EXPECT_EQ(parsed->places, settings.places);
  EXPECT_TRUE(parsed->labels_missing);
  EXPECT_EQ(parsed->first_id, 43u);
  EXPECT_EQ(parsed->first_seq, 1000u);
  EXPECT_EQ(parsed->boot, 7u);
  EXPECT_EQ(parsed->capacity, 4096u);
  EXPECT_EQ(parsed->policy.leak, policy::Verdict::deny);
  EXPECT_EQ(parsed->policy.reaction(policy::Trouble::supervisor_loss), policy::Reaction::detach);
  EXPECT_EQ(parsed->policy.reaction(policy::Trouble::journal), policy::Reaction::pause);
  EXPECT_EQ(parsed->policy.reaction(policy::Trouble::incomplete),
            settings.policy.reaction(policy::Trouble::incomplete));
}

TEST(Settings, EmptyTextIsTheDefault) {
  const Result<Settings> parsed = Settings::parse("");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->format(), Settings().format());
  EXPECT_EQ(parsed->policy.leak, policy::Verdict::alert);
}

TEST(Settings, AnyCutIsRefusedOrShorter) {
  const std::string text = example().format();
  for (size_t size = 0; size < text.size(); ++size) {
    const Result<Settings> parsed = Settings::parse(std::string_view(text).substr(0, size));
    const bool between_lines = size == 0 || text[size - 1] == '\n';
    EXPECT_EQ(static_cast<bool>(parsed), between_lines) << size;
  }
}

TEST(Settings, MalformedLinesAreRefusedByNumber) {
  for (const char* line : {"",
                           "boot",
                           "boot ",
                           "boot x",
                           "boot -1",
                           "boot 1 2",
                           "boot 4294967296",
                           "capacity 15",
                           "capacity 67108865",
                           "first-id 18446744073709551616",
                           "leak ",
                           "on-supervisor-loss ignore",
                           "leak maybe",
                           "rule",
                           "rule 1",
                           "rule 1 ",
                           "rule x /a",
                           "rule 10000000000000000 /a",
                           "file",
                           "file 00 1 1 1 1",
                           "unknown 1",
                           "service",
                           "service-exe /bin/x",
                           "service x\nservice-exe",
                           "service x\nservice-what 1",
                           "wait",
                           "wait long",
                           "file 000102030405060708090a0b0c0d0e0f 1 1 1",
                           "file 000102030405060708090a0b0c0d0e0f 1 1 1 1 1",
                           "file 000102030405060708090a0b0c0d0e0g 1 1 1 1",
                           "file 000102030405060708090a0b0c0d0e 1 1 1 1"}) {
    const Result<Settings> parsed = Settings::parse(std::string("boot 1\n") + line + "\n");
    ASSERT_FALSE(parsed) << line;
    EXPECT_EQ(parsed.error().code, Errc::invalid);
    EXPECT_NE(parsed.error().message.find(std::string(line).find('\n') == std::string::npos ? "line 2" : "line 3"),
              std::string::npos)
        << parsed.error().message;
  }
}

TEST(Settings, HiddenServicesComeThrough) {
  Settings settings;
  settings.wait = Wait::yield;
  settings.services.push_back({"logger", "/usr/sbin/my logger", "", true, false, {"/var/a b/**", "/c"}});
  settings.services.push_back({"agent", "", "agent.service", false, true, {}});
  const Result<Settings> parsed = Settings::parse(settings.format());
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->wait, Wait::yield);
  ASSERT_EQ(parsed->services.size(), 2u);
  const HiddenService& logger = parsed->services[0];
  EXPECT_EQ(logger.name, "logger");
  EXPECT_EQ(logger.exe, "/usr/sbin/my logger");
  EXPECT_EQ(logger.files, (std::vector<std::string>{"/var/a b/**", "/c"}));
  EXPECT_TRUE(logger.children);
  EXPECT_FALSE(logger.network);
  EXPECT_EQ(parsed->services[1].unit, "agent.service");
  EXPECT_TRUE(parsed->services[1].network);
}

}  // namespace
}  // namespace oboro::link
