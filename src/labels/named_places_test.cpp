#include "labels/named_places.h"

#include <gtest/gtest.h>
#include <string>

namespace oboro::labels {
namespace {

constexpr char kFs[] = "11111111-2222-3333-4444-555555555555";

TEST(NamedPlaces, TheDirectoriesAboveANameMatter) {
  NamedPlaces places(1);
  EXPECT_FALSE(places.matter(kFs, "/srv"));
  places.add_name(kFs, "/srv/secret/plan.txt");
  EXPECT_TRUE(places.matter(kFs, "/srv"));
  EXPECT_TRUE(places.matter(kFs, "/srv/secret"));
  EXPECT_FALSE(places.matter(kFs, "/srv/secret/plan.txt")) << "that is no directory";
  EXPECT_FALSE(places.matter(kFs, "/srv/other"));
  EXPECT_FALSE(places.matter(kFs, "/secret"));
  EXPECT_FALSE(places.matter("dev 0:23", "/srv"));
  places.add_name(kFs, "no path");
  EXPECT_FALSE(places.matter(kFs, "no path"));
}

TEST(NamedPlaces, WhatIsBelowAMovedDirectoryMatters) {
  NamedPlaces places(1);
  places.add_name(kFs, "/a/b/c/file");
  places.add_moved(kFs, "/x/moved");
  EXPECT_TRUE(places.matter(kFs, "/x")) << "it is above what has names";
  EXPECT_TRUE(places.matter(kFs, "/x/moved")) << "the other half of an exchange begins there, too";
  EXPECT_TRUE(places.matter(kFs, "/x/moved/b/c"));
  EXPECT_FALSE(places.matter(kFs, "/x/other"));
  EXPECT_FALSE(places.matter(kFs, "/moved"));
}

TEST(NamedPlaces, FewOthersMatterByChanceWhateverThereIs) {
  NamedPlaces places(7);
  for (int i = 0; i < 10'000; ++i) places.add_name(kFs, "/srv/" + std::to_string(i) + "/f");
  int wrong = 0;
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(places.matter(kFs, "/srv/" + std::to_string(i)));
    wrong += places.matter(kFs, "/home/" + std::to_string(i));
  }
  EXPECT_LT(wrong, 100);
}

TEST(NamedPlaces, GoOnFromTheirContent) {
  NamedPlaces places(42);
  places.add_name(kFs, "/srv/f");
  places.add_moved(kFs, "/home/a");
  const NamedPlaces again(places.content());
  EXPECT_EQ(again.content(), places.content());
  EXPECT_TRUE(again.matter(kFs, "/srv"));
  EXPECT_TRUE(again.matter(kFs, "/home/a/b"));
  EXPECT_FALSE(again.matter(kFs, "/usr"));
  EXPECT_NE(NamedPlaces(43).content(), places.content());
  EXPECT_TRUE(NamedPlaces(1).content().words.empty());
}

}  // namespace
}  // namespace oboro::labels
