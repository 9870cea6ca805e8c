#include "arch/x86_64/page_walk.h"

#include <gtest/gtest.h>
#include <map>

namespace oboro::arch {
namespace {

struct Tables {
  std::map<uint64_t, uint64_t> words;
  std::optional<uint64_t> operator()(Gpa at) const {
    const auto found = words.find(at.value);
    if (found == words.end()) return std::nullopt;
    return found->second;
  }
  void map(uint64_t table, uint64_t va, int level, uint64_t entry) {
    words[table + ((va >> (12 + 9 * level)) & 511) * 8] = entry;
  }
  // A small page at 0x12345000, by tables at 0x1000 to 0x4000.
  void map_small(uint64_t va, uint64_t flags, uint64_t leaf_flags) {
    for (int level = 3; level > 0; --level)
      map(static_cast<uint64_t>(4 - level) << 12, va, level, static_cast<uint64_t>(5 - level) << 12 | flags);
    map(0x4000, va, 0, 0x12345000 | leaf_flags);
  }
};

constexpr uint64_t kVa = 0xffffffff81234567;

TEST(PageWalk, FourLevelsSmallPage) {
  Tables t;
  t.map_small(kVa, 3, 0x8000000000000003);
  const auto found = walk(t, {0x1000 | 0x5, false}, Gva(kVa));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->address.value, 0x12345567u);
  EXPECT_EQ(found->remaining, 0x1000u - 0x567u);
  EXPECT_FALSE(found->user);
}

TEST(PageWalk, IsTheUsersIfAllLevelsSaySo) {
  Tables t;
  t.map_small(kVa, 7, 7);
  ASSERT_TRUE(walk(t, {0x1000, false}, Gva(kVa)));
  EXPECT_TRUE(walk(t, {0x1000, false}, Gva(kVa))->user);
  t.map(0x2000, kVa, 2, 0x3003);
  EXPECT_FALSE(walk(t, {0x1000, false}, Gva(kVa))->user);
}

TEST(PageWalk, LargePageAndFiveLevels) {
  Tables t;
  t.map(0x1000, kVa, 4, 0x2003);
  t.map(0x2000, kVa, 3, 0x3003);
  t.map(0x3000, kVa, 2, 0x4003);
  t.map(0x4000, kVa, 1, 0x40000083 | (uint64_t{1} << 12));  // bit 12 is PAT in a large entry, not address
  const auto found = walk(t, {0x1000, true}, Gva(kVa));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->address.value, 0x40000000u + (kVa & 0x1fffff));
}

TEST(PageWalk, RefusesAbsentUnreadableAndNonCanonical) {
  Tables t;
  t.map(0x1000, kVa, 3, 0x2002);
  EXPECT_FALSE(walk(t, {0x1000, false}, Gva(kVa)));
  t.map(0x1000, kVa, 3, 0x7000003);
  EXPECT_FALSE(walk(t, {0x1000, false}, Gva(kVa)));
  EXPECT_FALSE(walk(t, {0x1000, false}, Gva(0x8000000000000000)));
}

}  // namespace
}  // namespace oboro::arch
