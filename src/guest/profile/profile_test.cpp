#include "guest/profile/profile.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <string>

#include "guest/profile/schema.h"

namespace oboro::guest {
namespace {

Profile sample() {
  Profile profile;
  profile.build_id = "00ff";
  profile.release = "6.1.0-49-cloud-amd64";
  uint32_t offset = 0;
  for (uint32_t& field : profile.fields) field = offset += 8;
  uint64_t address = 0x1000;
  for (SymbolValue& symbol : profile.symbols) symbol = {SymbolValue::Kind::relative, address += 16};
  profile.symbols[static_cast<size_t>(Symbol::current_task)] = {SymbolValue::Kind::absolute, 0x1fbc0};
  profile.symbols[static_cast<size_t>(Symbol::pcpu_hot)] = {};
  profile.fields[static_cast<size_t>(Field::pcpu_hot_current_task)] = Profile::kMissing;
  return profile;
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

TEST(Profile, SurvivesItsTextForm) {
  const Profile profile = sample();
  const auto again = Profile::parse(profile.format());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->format(), profile.format());
  EXPECT_EQ(again->fields, profile.fields);
  EXPECT_EQ((*again)[Symbol::current_task].kind, SymbolValue::Kind::absolute);
  EXPECT_EQ((*again)[Symbol::current_task].value, 0x1fbc0u);
  EXPECT_FALSE(again->has(Symbol::pcpu_hot));
  EXPECT_FALSE(again->has(Field::pcpu_hot_current_task));
}

TEST(Profile, NamesAreThoseOfTheSchema) {
  EXPECT_EQ(name(Field::task_tgid), "task_tgid");
  EXPECT_EQ(name(Field::user_registers_size), "user_registers_size");
  EXPECT_EQ(name(Symbol::fn_do_splice), "fn_do_splice");
  EXPECT_EQ(name(Symbol::count), "?");
}

TEST(Profile, RefusesWhatFormatDoesNotWrite) {
  const std::string good = sample().format();
  const std::string task_line = "field task_tgid " + std::to_string(sample()[Field::task_tgid]) + "\n";
  struct Case {
    const char* what;
    std::string text;
  };
  const Case cases[] = {
      {"nothing", ""},
      {"a header alone", good.substr(0, good.find('\n') + 1)},
      {"no end of line", good.substr(0, good.size() - 1)},
      {"another schema", replaced(good, good.substr(16, 8), "00000000")},
      {"another version", replaced(good, "oboro-profile 1", "oboro-profile 2")},
      {"a required field missing", replaced(good, task_line, "")},
      {"a field twice", replaced(good, task_line, task_line + task_line)},
      {"an unknown field", replaced(good, "task_tgid", "task_tgit")},
      {"an unknown entry", good + "colour blue\n"},
      {"an empty line", good + "\n"},
      {"a negative offset", replaced(good, "task_tgid ", "task_tgid -")},
      {"a leading zero", replaced(good, "task_tgid ", "task_tgid 0")},
      {"an offset out of range", replaced(good, "task_tgid ", "task_tgid 99999999")},
      {"an offset of 65 bits", replaced(good, "task_tgid ", "task_tgid 36893488147419103232")},
      {"words after an offset", replaced(good, task_line, task_line.substr(0, task_line.size() - 1) + " 1\n")},
      {"a missing offset", replaced(good, task_line, "field task_tgid\n")},
      {"an address out of range", replaced(good, "init_task relative ", "init_task relative ffffffff8")},
      {"capital hex", replaced(good, "current_task absolute 1fbc0", "current_task absolute 1FBC0")},
      {"an unknown kind", replaced(good, "current_task absolute", "current_task sideways")},
      {"another order", replaced(replaced(good, task_line, ""), "release", task_line + "release")},
      {"a build ID that is none", replaced(good, "build_id 00ff", "build_id ../x")},
      {"an empty release", replaced(good, "release 6.1.0-49-cloud-amd64", "release ")},
      {"a release with a blank", replaced(good, "release 6.1.0", "release 6.1 0")},
      {"two build IDs", replaced(good, "build_id 00ff\n", "build_id 00ff\nbuild_id 00ff\n")},
      {"a NUL", replaced(good, "build_id 00ff", std::string_view("build_id 00ff\0", 14))},
      {"a carriage return", replaced(good, "cloud-amd64\n", "cloud-amd64\r\n")},
      {"a flood", good + std::string(1 << 20, '\n')},
  };
  for (const Case& c : cases) EXPECT_FALSE(Profile::parse(c.text)) << c.what;
}

TEST(Profile, RefusesEveryCut) {
  const std::string good = sample().format();
  for (size_t size = 0; size < good.size(); ++size) {
    const auto cut = Profile::parse(good.substr(0, size));
    // Optional symbols stand last: a text that lacks some of them is the profile of another kernel.
    if (cut) {
      EXPECT_EQ(cut->format(), good.substr(0, size));
    }
  }
}

TEST(Schema, EntriesAreSound) {
  for (const SchemaEntry& entry : kFieldSchema) EXPECT_FALSE(entry.alternatives[0].empty()) << entry.id;
  for (const SchemaEntry& entry : kSymbolSchema) EXPECT_FALSE(entry.alternatives[0].empty()) << entry.id;
  EXPECT_TRUE(kFieldSchema[static_cast<size_t>(Field::user_registers_size)].measure == Measure::size);
  EXPECT_TRUE(kSymbolSchema[static_cast<size_t>(Symbol::fn_mq_timedsend)].suffix_ok);
}

}  // namespace
}  // namespace oboro::guest
