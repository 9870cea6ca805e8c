#include "guest/profile/btf.h"

#include <bpf/btf.h>
#include <gtest/gtest.h>
#include <random>

#include "guest/profile/schema.h"
#include "tests/support/guest/fake_kernel.h"

namespace oboro::guest {
namespace {

// A few types, added with libbpf, and read back by the code under test.
class BtfTest : public ::testing::Test {
 protected:
  BtfTest() : made_(btf__new_empty(), btf__free), long_(btf__add_int(made_.get(), "long", 8, 0)) {}

  btf* made() { return made_.get(); }
  Result<Btf> load(std::vector<std::string_view> structures) {
    uint32_t size = 0;
    const void* data = btf__raw_data(made_.get(), &size);
    return Btf::load({static_cast<const std::byte*>(data), size}, structures);
  }

  std::unique_ptr<btf, decltype(&btf__free)> made_;
  int long_;
};

TEST_F(BtfTest, FindsMembersOfAnonymousMembers) {
  const int deepest = btf__add_struct(made(), nullptr, 16);
  btf__add_field(made(), "a", long_, 0, 0);
  btf__add_field(made(), "b", long_, 64, 0);
  const int inner = btf__add_union(made(), nullptr, 16);
  btf__add_field(made(), nullptr, deepest, 0, 0);
  btf__add_field(made(), "c", long_, 0, 0);
  const int constant = btf__add_const(made(), inner);
  btf__add_struct(made(), "outer", 24);
  btf__add_field(made(), "first", long_, 0, 0);
  btf__add_field(made(), nullptr, constant, 64, 0);
  const auto types = load({"outer"});
  ASSERT_TRUE(types) << types.error().message;
  EXPECT_EQ(*types->offset_of("outer.first"), 0u);
  EXPECT_EQ(*types->offset_of("outer.b"), 16u);
  EXPECT_EQ(*types->offset_of("outer.c"), 8u);
  EXPECT_EQ(*types->size_of("outer"), 24u);
  EXPECT_EQ(types->offset_of("outer.d").error().code, Errc::not_found);
  EXPECT_EQ(types->offset_of("outer.first.a").error().code, Errc::not_found);
  EXPECT_EQ(types->offset_of("other.a").error().code, Errc::not_found);
}

TEST_F(BtfTest, FollowsNamedMembersThroughTypedefs) {
  const int inner = btf__add_struct(made(), "inner", 16);
  btf__add_field(made(), "x", long_, 64, 0);
  const int name = btf__add_typedef(made(), "inner_t", btf__add_volatile(made(), inner));
  const int pointer = btf__add_ptr(made(), inner);
  btf__add_struct(made(), "outer", 24);
  btf__add_field(made(), "in", name, 64, 0);
  btf__add_field(made(), "to", pointer, 0, 0);
  const auto types = load({"outer"});
  ASSERT_TRUE(types);
  EXPECT_EQ(*types->offset_of("outer.in.x"), 16u);
  EXPECT_EQ(types->offset_of("outer.to.x").error().code, Errc::not_found);  // a pointer is not followed
}

TEST_F(BtfTest, RefusesBitFields) {
  btf__add_struct(made(), "bits", 8);
  btf__add_field(made(), "few", long_, 0, 3);
  btf__add_field(made(), "whole", long_, 8, 0);
  const auto types = load({"bits"});
  ASSERT_TRUE(types);
  EXPECT_EQ(types->offset_of("bits.few").error().code, Errc::unsupported);
}

TEST_F(BtfTest, StructuresOfOneNameMustAgree) {
  for (uint32_t offset : {0, 64, 0}) {
    btf__add_struct(made(), "same", 16);
    btf__add_field(made(), offset ? "moved" : "kept", long_, offset, 0);
    btf__add_field(made(), "differs", long_, offset, 0);
  }
  const auto types = load({"same"});
  ASSERT_TRUE(types);
  EXPECT_EQ(*types->offset_of("same.kept"), 0u);
  EXPECT_EQ(*types->offset_of("same.moved"), 8u);
  EXPECT_EQ(types->offset_of("same.differs").error().code, Errc::unsupported);
}

TEST_F(BtfTest, CyclesEnd) {
  // typedef a -> const -> typedef a, and an anonymous structure inside itself. libbpf may refuse them at once.
  const int cycle = btf__type_cnt(made());
  btf__add_typedef(made(), "a", cycle + 1);
  btf__add_const(made(), cycle);
  const int self = btf__add_struct(made(), nullptr, 16);
  btf__add_field(made(), nullptr, self, 0, 0);
  btf__add_struct(made(), "outer", 16);
  btf__add_field(made(), "loop", cycle, 0, 0);
  btf__add_field(made(), nullptr, self, 0, 0);
  const auto types = load({"outer"});
  if (!types) return;
  EXPECT_FALSE(types->offset_of("outer.loop.x"));
  EXPECT_FALSE(types->offset_of("outer.x"));
}

TEST(Btf, ResolvesTheWholeSchema) {
  std::map<std::string, uint32_t> offsets;
  const auto blob = testing::make_fake_btf(offsets);
  std::vector<std::string_view> structures;
  structures.reserve(std::size(kFieldSchema));
  for (const SchemaEntry& entry : kFieldSchema)
    structures.push_back(entry.alternatives[0].substr(0, entry.alternatives[0].find('.')));
  const auto types = Btf::load(blob, structures);
  ASSERT_TRUE(types);
  for (const SchemaEntry& entry : kFieldSchema) {
    const auto value = types->value_of(entry.measure, entry.alternatives[0]);
    ASSERT_TRUE(value) << entry.id << ": " << value.error().message;
    EXPECT_EQ(*value, offsets.at(std::string(entry.alternatives[0]))) << entry.id;
  }
}

TEST(Btf, SurvivesDamage) {
  std::map<std::string, uint32_t> offsets;
  const auto good = testing::make_fake_btf(offsets);
  const std::vector<std::string_view> structures = {"task_struct", "sock", "mount"};
  std::mt19937 random(11);
  for (int round = 0; round < 5000; ++round) {
    auto blob = good;
    for (int change = 0; change < 4; ++change) blob[random() % blob.size()] = std::byte(random());
    if (round % 4 == 0) blob.resize(random() % blob.size());
    const auto types = Btf::load(blob, structures);
    if (!types) continue;
    for (const char* path : {"task_struct.thread_info.status", "sock.__sk_common.skc_net.net", "mount.mnt.mnt_root"})
      (void)types->offset_of(path);
    (void)types->size_of("sock");
  }
}

TEST(Btf, RefusesWhatIsNone) {
  EXPECT_EQ(Btf::load({}, {}).error().code, Errc::not_found);
  EXPECT_EQ(Btf::load(std::vector<std::byte>(100), {}).error().code, Errc::invalid);
}

}  // namespace
}  // namespace oboro::guest
