#include "guest/profile/kallsyms.h"

#include <gtest/gtest.h>
#include <random>

#include "tests/support/guest/fake_kernel.h"

namespace oboro::guest {
namespace {

using testing::FakeSymbol;
using testing::KallsymsLayout;
using Kind = SymbolValue::Kind;

constexpr uint64_t kBase = 0xffffffffb6200000;
constexpr uint64_t kText = 0x4000;

std::vector<std::byte> image_of(const std::vector<FakeSymbol>& symbols, KallsymsLayout layout) {
  std::vector<std::byte> image(kText * 4, std::byte{0x90});
  testing::append_kallsyms(image, symbols, layout, kBase);
  return image;
}

std::vector<FakeSymbol> with(std::vector<FakeSymbol> more, uint64_t fillers_at = 0x100) {
  for (FakeSymbol& filler : testing::filler_symbols(fillers_at)) more.push_back(filler);
  return more;
}

class KallsymsLayouts : public ::testing::TestWithParam<KallsymsLayout> {};

TEST_P(KallsymsLayouts, FindsSymbols) {
  const auto image =
      image_of(with({{"_stext", 0x10}, {"security_file_open", 0x20}, {"do_mq.isra.0.constprop.1", 0x30}}), GetParam());
  const auto kallsyms = Kallsyms::find(image, Gva(kBase));
  ASSERT_TRUE(kallsyms) << kallsyms.error().message;
  EXPECT_EQ(kallsyms->size(), 604u);
  const Kallsyms::Wanted wanted[] = {{"_stext"},  {"security_file_open"}, {"do_mq", true}, {"do_mq"},
                                     {"nothing"}, {"filler_599"}};
  const auto found = kallsyms->lookup(wanted);
  const uint64_t expected[] = {0x10, 0x20, 0x30, 0, 0, 0x100 + 16 * 599};
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].value.kind, expected[i] ? Kind::relative : Kind::missing) << wanted[i].name;
    EXPECT_EQ(found[i].value.value, expected[i]) << wanted[i].name;
  }
}

TEST_P(KallsymsLayouts, NamesDuplicates) {
  const auto image = image_of(with({{"twice", 0x10}, {"twice", 0x20}, {"alias", 0x30}, {"alias", 0x30}}), GetParam());
  const auto kallsyms = Kallsyms::find(image, Gva(kBase));
  ASSERT_TRUE(kallsyms);
  const Kallsyms::Wanted wanted[] = {{"twice"}, {"alias"}};
  const auto found = kallsyms->lookup(wanted);
  EXPECT_TRUE(found[0].ambiguous);
  EXPECT_FALSE(found[1].ambiguous);
  EXPECT_EQ(found[1].value.value, 0x30u);
}

TEST_P(KallsymsLayouts, OtherSuffixesAreOtherFunctions) {
  const auto image = image_of(
      with({{"f.cold", 0x10}, {"f.part.0", 0x20}, {"f.constprop.", 0x30}, {"f.isra.0.cold", 0x40}}), GetParam());
  const auto kallsyms = Kallsyms::find(image, Gva(kBase));
  ASSERT_TRUE(kallsyms);
  const Kallsyms::Wanted wanted[] = {{"f", true}};
  EXPECT_EQ(kallsyms->lookup(wanted)[0].value.kind, Kind::missing);
}

TEST_P(KallsymsLayouts, SurvivesDamage) {
  const auto good = image_of(with({{"_stext", 0x10}}), GetParam());
  const Kallsyms::Wanted wanted[] = {{"_stext"}, {"filler_7"}};
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    auto image = good;
    for (int change = 0; change < 3; ++change)
      image[kText * 4 + random() % (image.size() - kText * 4)] = std::byte(random());
    if (round % 4 == 0) image.resize(random() % image.size());
    if (const auto kallsyms = Kallsyms::find(image, Gva(kBase))) (void)kallsyms->lookup(wanted);
  }
}

INSTANTIATE_TEST_SUITE_P(All, KallsymsLayouts,
                         ::testing::Values(KallsymsLayout::before_6_5, KallsymsLayout::before_6_15,
                                           KallsymsLayout::before_7_0, KallsymsLayout::since_7_0));

TEST(Kallsyms, PerCpuSymbolsAreAbsolute) {
  for (auto layout : {KallsymsLayout::before_6_5, KallsymsLayout::before_6_15}) {
    const auto image =
        image_of(with({{"fixed_percpu_data", 0, true}, {"current_task", 0x1fbc0, true}, {"_stext", 0}}), layout);
    const auto kallsyms = Kallsyms::find(image, Gva(kBase));
    ASSERT_TRUE(kallsyms);
    const Kallsyms::Wanted wanted[] = {{"current_task"}, {"_stext"}};
    const auto found = kallsyms->lookup(wanted);
    EXPECT_EQ(found[0].value.kind, Kind::absolute);
    EXPECT_EQ(found[0].value.value, 0x1fbc0u);
    EXPECT_EQ(found[1].value.kind, Kind::relative);
    EXPECT_EQ(found[1].value.value, 0u);
  }
}

TEST(Kallsyms, RefusesWhatIsNone) {
  EXPECT_EQ(Kallsyms::find({}, Gva(kBase)).error().code, Errc::not_found);
  const std::vector<std::byte> zeros(1 << 20);
  EXPECT_EQ(Kallsyms::find(zeros, Gva(kBase)).error().code, Errc::not_found);
  const auto unsorted = image_of(with({{"_stext", 0x3000}}), KallsymsLayout::before_7_0);
  EXPECT_EQ(Kallsyms::find(unsorted, Gva(kBase)).error().code, Errc::invalid);
  const auto elsewhere = image_of(with({{"_stext", 0}}), KallsymsLayout::before_6_5);
  EXPECT_FALSE(Kallsyms::find(elsewhere, Gva(kBase + (64 << 20))));
}

}  // namespace
}  // namespace oboro::guest
