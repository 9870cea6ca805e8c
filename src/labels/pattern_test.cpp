#include "labels/pattern.h"

#include <chrono>
#include <gtest/gtest.h>

namespace oboro::labels {
namespace {

Pattern parse(std::string_view text) {
  auto pattern = Pattern::parse(text);
  EXPECT_TRUE(pattern) << pattern.error().message;
  return std::move(*pattern);
}

struct Case {
  std::string_view pattern;
  std::vector<std::string_view> yes;
  std::vector<std::string_view> no;
};

TEST(Pattern, Matches) {
  const std::vector<Case> cases{
      {"/srv/secret",
       {"/srv/secret", "/srv/secret/a", "/srv/secret/a/b"},
       {"/srv/secret2", "/srv", "/srv/secre", "/", ""}},
      {"/srv/secret/", {"/srv/secret", "/srv/secret/a"}, {"/srv/secret2"}},
      {"/srv/secret/**", {"/srv/secret/a", "/srv/secret/a/b"}, {"/srv/secret", "/srv/secretx"}},
      {"/", {"/", "/a", "/a/b"}, {"", "a"}},
      {"/**", {"/a", "/a/b"}, {""}},
      {"/a/*", {"/a/b", "/a/b/c", "/a/.x"}, {"/a", "/b/a"}},
      {"/a/*.txt", {"/a/b.txt", "/a/.txt", "/a/b.txt/below"}, {"/a/b.tx", "/a/b/c.txt", "/a/b.txt2"}},
      {"/a/*/c", {"/a/b/c", "/a/b/c/d"}, {"/a/c", "/a/b/b/c"}},
      {"/a/**/c", {"/a/c", "/a/b/c", "/a/b/b/c", "/a/b/c/x"}, {"/a/bc", "/ac", "/a/b/cx"}},
      {"/a/**/**/c", {"/a/c", "/a/b/c", "/a/x/y/z/c"}, {"/a/xc"}},
      {"/a**b", {"/ab", "/axb", "/ax/yb", "/a/b/c"}, {"/a/c"}},
      {"/a/?", {"/a/x", "/a/\xc3\xa9", "/a/x/y"}, {"/a/", "/a/xy"}},
      {"/a/[a-cx]1", {"/a/a1", "/a/c1", "/a/x1"}, {"/a/d1", "/a/1", "/a/-1"}},
      {"/a/[!a-c]", {"/a/d", "/a/\xc3\xa9"}, {"/a/a", "/a/"}},
      {"/a/[]x-]", {"/a/]", "/a/x", "/a/-"}, {"/a/y"}},
      {"/home/{alice,bob}/.ssh",
       {"/home/alice/.ssh/id", "/home/bob/.ssh"},
       {"/home/eve/.ssh/id", "/home/alice,bob/.ssh"}},
      {"/{a{b,c},d}/e", {"/ab/e", "/ac/e", "/d/e"}, {"/a/e", "/b/e"}},
      {"/a{,.bak}", {"/a", "/a.bak"}, {"/a."}},
      {"/a{/x,/y/}", {"/a/x", "/a/y/z"}, {"/a/z"}},
      {R"(/a\*\{b)", {"/a*{b"}, {"/axb"}},
      {"/a,b", {"/a,b"}, {"/a"}},
      {"/日本/*", {"/日本/語"}, {"/日/本"}},
  };
  for (const Case& c : cases) {
    const Pattern pattern = parse(c.pattern);
    for (const auto path : c.yes) EXPECT_TRUE(pattern.match(path)) << c.pattern << " " << path;
    for (const auto path : c.no) EXPECT_FALSE(pattern.match(path)) << c.pattern << " " << path;
  }
}

TEST(Pattern, RefusesWithPosition) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "empty"},
      {"a", "character 1)"},
      {"/a//b", "character 4)"},
      {"/a/./b", "character 4)"},
      {"/a/{b,..}/c", "character 7)"},
      {"/a[", "character 3)"},
      {"/a[z-a]", "character 5)"},
      {"/a[/]", "character 4)"},
      {"/a[[:alpha:]]", "character 4)"},
      {"/a[\xc3\xa9]", "character 4)"},
      {"/a{b", "character 3)"},
      {"/a}", "character 3)"},
      {"/a\\", "character 3)"},
      {std::string("/a\0", 3), "character 3)"},
      {"/" + std::string(2000, 'a'), "longer than"},
      {"/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", "alternatives"},
      {"/" + std::string(40, '{') + std::string(40, '}'), "more than 32"},
      {"/" + std::string(1000, '?'), "too long"},
  };
  for (const auto& [text, expected] : cases) {
    const auto pattern = Pattern::parse(text);
    ASSERT_FALSE(pattern) << text;
    EXPECT_NE(pattern.error().message.find(expected), std::string::npos) << pattern.error().message;
  }
}

TEST(Classification, LabelAfterTheLastEquals) {
  const auto label = [](std::string_view text) { return parse_classification(text)->label; };
  EXPECT_EQ(label("/srv/secret"), "classified");
  EXPECT_EQ(label("/srv/secret=plan"), "plan");
  EXPECT_EQ(label("/srv/a=b=plan"), "plan");
  EXPECT_EQ(label(R"(/srv/a\=b)"), "classified");
  EXPECT_TRUE(parse_classification("/srv/a=b=plan")->pattern.match("/srv/a=b/c"));
  EXPECT_TRUE(parse_classification(R"(/srv/a\=b)")->pattern.match("/srv/a=b"));
  for (const auto& [text, expected] :
       std::vector<std::pair<std::string, std::string>>{{"/a=", "character 4)"},
                                                        {"/a=b/c", "character 5)"},
                                                        {"/a=" + std::string(33, 'x'), "character 36)"},
                                                        {"=x", "empty"}}) {
    const auto result = parse_classification(text);
    ASSERT_FALSE(result) << text;
    EXPECT_NE(result.error().message.find(expected), std::string::npos) << result.error().message;
  }
}

TEST(PatternSet, JoinsLabels) {
  PatternSet set;
  EXPECT_TRUE(set.empty());
  ASSERT_TRUE(set.add(parse("/srv/**"), 1));
  ASSERT_TRUE(set.add(parse("/srv/hr"), 2));
  ASSERT_TRUE(set.add(parse("/home"), 4));
  EXPECT_EQ(set.match("/srv/hr/x"), 3u);
  EXPECT_EQ(set.match("/srv/x"), 1u);
  EXPECT_EQ(set.match("/etc"), 0u);
  EXPECT_EQ(set.first_match("/home/x")->text(), "/home");
  EXPECT_EQ(set.first_match("/etc"), nullptr);
}

TEST(Pattern, NoExplosion) {
  std::string stars = "/";
  for (int i = 0; i < 300; ++i) stars += "*a";
  std::string deep = "/";
  for (int i = 0; i < 160; ++i) deep += "**/a*/";
  const std::string path = "/" + std::string(8000, 'a');
  std::string dirs;
  for (int i = 0; i < 2000; ++i) dirs += "/aa";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(parse(stars + "b").match(path));
  EXPECT_TRUE(parse(stars).match(path));
  EXPECT_FALSE(parse(deep + "b").match(dirs));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(Pattern, SaysWhetherARenamedDirectoryMayHoldMatches) {
  const auto may = [](const char* pattern, const char* from, const char* to) {
    return Pattern::parse(pattern)->may_match_below(from, to);
  };
  EXPECT_TRUE(may("/srv/secret/*.txt", "/srv/secret", "/tmp/x"));
  EXPECT_TRUE(may("/srv/secret/*.txt", "/srv", "/tmp/x"));
  EXPECT_FALSE(may("/srv/secret/*.txt", "/srv/other", "/tmp/x"));
  EXPECT_FALSE(may("/home/*/.ssh/id_*", "/home/u/projects", "/home/u/old"));
  EXPECT_TRUE(may("/home/*/.ssh/id_*", "/home/u/.ssh", "/home/u/old"));
  EXPECT_FALSE(may("/**/*.key", "/home/u", "/tmp/u"));
  EXPECT_TRUE(may("/home/**/*.key", "/home/u", "/tmp/u"));
}

}  // namespace
}  // namespace oboro::labels
