#include "guest/profile/build.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <random>

#include "guest/profile/bytes.h"
#include "guest/profile/schema.h"
#include "tests/support/guest/fake_kernel.h"

namespace oboro::guest {
namespace {

using testing::FakeKernel;
using testing::KallsymsLayout;
using testing::make_fake_kernel;

TEST(BuildProfile, ReadsAKernel) {
  for (auto layout : {KallsymsLayout::before_6_5, KallsymsLayout::before_7_0, KallsymsLayout::since_7_0}) {
    const FakeKernel kernel = make_fake_kernel(layout);
    const auto profile = build_profile(kernel.image, Gva(kernel.base));
    ASSERT_TRUE(profile) << profile.error().message;
    EXPECT_EQ(profile->release, testing::kFakeRelease);
    EXPECT_EQ(profile->build_id, testing::kFakeBuildId);
    for (size_t i = 0; i < kFieldCount; ++i)
      EXPECT_EQ(profile->fields[i], kernel.offsets.at(std::string(kFieldSchema[i].alternatives[0])))
          << kFieldSchema[i].id;
    EXPECT_EQ((*profile)[Symbol::stext].value, kernel.symbols.at("_stext"));
    EXPECT_EQ((*profile)[Symbol::fn_do_splice].value, kernel.symbols.at("do_splice"));
    EXPECT_EQ((*profile)[Symbol::fn_mq_timedsend].value, kernel.symbols.at("do_mq_timedsend.constprop.0"));
    const auto again = Profile::parse(profile->format());
    ASSERT_TRUE(again) << again.error().message;
  }
}

TEST(BuildProfile, NamesWhatAKernelLacks) {
  const FakeKernel without_function = make_fake_kernel(KallsymsLayout::before_7_0, "do_splice");
  const auto lacking = build_profile(without_function.image, Gva(without_function.base));
  ASSERT_FALSE(lacking);
  EXPECT_EQ(lacking.error().code, Errc::unsupported);
  EXPECT_NE(lacking.error().message.find("fn_do_splice (do_splice: no such symbol)"), std::string::npos);

  const FakeKernel without_types = make_fake_kernel(KallsymsLayout::before_7_0, "__start_BTF");
  EXPECT_EQ(build_profile(without_types.image, Gva(without_types.base)).error().code, Errc::not_found);

  const FakeKernel without_option = make_fake_kernel(KallsymsLayout::before_7_0, "tty_fops");
  const auto profile = build_profile(without_option.image, Gva(without_option.base));
  ASSERT_TRUE(profile);
  EXPECT_FALSE(profile->has(Symbol::tty_fops));
}

TEST(BuildProfile, SurvivesDamage) {
  const FakeKernel kernel = make_fake_kernel(KallsymsLayout::before_7_0);
  std::mt19937 random(3);
  for (int round = 0; round < 1000; ++round) {
    auto image = kernel.image;
    for (int change = 0; change < 4; ++change) image[random() % image.size()] = std::byte(random());
    if (round % 4 == 0) image.resize(random() % image.size());
    if (const auto profile = build_profile(image, Gva(kernel.base))) {
      EXPECT_TRUE(Profile::parse(profile->format()));
    }
  }
}

TEST(BuildId, IsTheNoteBeforeTheTypes) {
  FakeKernel kernel = make_fake_kernel(KallsymsLayout::since_7_0);
  EXPECT_EQ(kernel_build_id(kernel.image), testing::kFakeBuildId);
  const uint64_t note = kernel.symbols.at("__start_notes");
  // As in the vDSO, or in a page of a file: such a note does not matter, before the kernel's or after it.
  auto image = kernel.image;
  const std::vector<std::byte> other(image.begin() + static_cast<ptrdiff_t>(note),
                                     image.begin() + static_cast<ptrdiff_t>(note + 36));
  std::copy(other.begin(), other.end(), image.begin() + 64);
  image[64 + 16] = std::byte{0xff};
  image.insert(image.end(), other.begin(), other.end());
  image[image.size() - 1] = std::byte{0xff};
  EXPECT_EQ(kernel_build_id(image), testing::kFakeBuildId);
  image[note + 16] ^= std::byte{0xf1};
  EXPECT_EQ(kernel_build_id(image), "f0" + std::string(testing::kFakeBuildId).substr(2));
}

TEST(BuildId, Missing) {
  EXPECT_EQ(kernel_build_id({}), "");
  EXPECT_EQ(kernel_build_id(std::vector<std::byte>(10000)), "");
  FakeKernel kernel = make_fake_kernel(KallsymsLayout::since_7_0);
  // Cut off in the note, in the header of the types, and right behind that header.
  EXPECT_EQ(kernel_build_id(Bytes(kernel.image).first(kernel.symbols.at("__start_notes") + 20)), "");
  EXPECT_EQ(kernel_build_id(Bytes(kernel.image).first(kernel.symbols.at("__start_BTF") + 6)), "");
  EXPECT_EQ(kernel_build_id(Bytes(kernel.image).first(kernel.symbols.at("__start_BTF") + 8)), testing::kFakeBuildId);
  const size_t size = kernel.symbols.at("__start_notes") + 4;
  for (const uint32_t wrong : {0u, 65u, 0xffffffffu}) {
    std::memcpy(kernel.image.data() + size, &wrong, sizeof wrong);
    EXPECT_EQ(kernel_build_id(kernel.image), "") << wrong;
  }
}

// Images of real kernels, as tests/support/kernel-image writes them.
std::filesystem::path images() {
  if (const char* cache = std::getenv("OBORO_CACHE")) return std::filesystem::path(cache) / "images";
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home ? home : "/") / ".cache/oboro/images";
}

std::vector<std::byte> read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::byte> bytes(std::filesystem::file_size(path));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

// Whether a function can be hooked: it begins with a NOP or endbr64.
bool begins_with_nop(Bytes code) {
  const uint32_t word = load<uint32_t>(code, 0).value_or(0);
  return word == 0xfa1e0ff3 || word == 0x001f0f66 || (word & 0xffffff) == 0x401f0f || word == 0x00441f0f;
}

TEST(BuildProfile, ReadsRealKernels) {
  std::error_code none;
  int count = 0;
  for (const auto& file : std::filesystem::directory_iterator(images(), none)) {
    if (file.path().extension() != ".img") continue;
    ++count;
    SCOPED_TRACE(file.path());
    const auto image = read_file(file.path());
    uint64_t base = 0;
    std::ifstream(std::filesystem::path(file.path()).replace_extension(".base")) >> std::hex >> base;
    const auto profile = build_profile(image, Gva(base));
    ASSERT_TRUE(profile) << profile.error().message;
    EXPECT_EQ(profile->build_id.size(), 40u);

    const std::string comm = "swapper";
    const uint64_t at = (*profile)[Symbol::init_task].value + (*profile)[Field::task_comm];
    EXPECT_EQ(as_text(slice(image, at, comm.size()).value_or(Bytes())), comm);
    // current_task is a per-CPU symbol before 6.2, a member of pcpu_hot up to 6.14, and a symbol again later.
    EXPECT_NE(profile->has(Symbol::current_task), profile->has(Field::pcpu_hot_current_task));
    EXPECT_EQ(profile->has(Symbol::pcpu_hot), profile->has(Field::pcpu_hot_current_task));
    EXPECT_NE(profile->has(Field::mount_instance), profile->has(Field::mount_next_for_sb));
    for (size_t i = 0; i < kSymbolCount; ++i) {
      const SymbolValue& symbol = profile->symbols[i];
      if (!kSymbolSchema[i].id.starts_with("fn_") || symbol.kind == SymbolValue::Kind::missing) continue;
      EXPECT_EQ(symbol.kind, SymbolValue::Kind::relative);
      EXPECT_TRUE(begins_with_nop(slice(image, symbol.value, 16).value_or(Bytes()))) << kSymbolSchema[i].id;
    }
  }
  if (count == 0) GTEST_SKIP() << "this host: no images in " << images() << " (tests/support/kernel-image writes them)";
}

}  // namespace
}  // namespace oboro::guest
