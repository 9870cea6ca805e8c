#include "guest/profile/cache.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "guest/profile/build.h"
#include "tests/support/guest/fake_kernel.h"

namespace oboro::guest {
namespace {

namespace fs = std::filesystem;

class CacheTest : public ::testing::Test {
 protected:
  CacheTest() {
    std::string name = (fs::temp_directory_path() / "oboro-cache-XXXXXX").string();
    root_ = mkdtemp(name.data());
    const auto kernel = testing::make_fake_kernel(testing::KallsymsLayout::since_7_0);
    profile_ = *build_profile(kernel.image, Gva(kernel.base));
  }
  ~CacheTest() override { fs::remove_all(root_); }

  std::string cache() const { return (root_ / "a/b").string(); }
  fs::path entry() const { return root_ / "a/b/profiles/00ff.profile"; }

  fs::path root_;
  Profile profile_;
};

TEST_F(CacheTest, KeepsAProfile) {
  const ProfileCache profiles(cache());
  EXPECT_FALSE(profiles.load("00ff"));
  const auto stored = profiles.store("00ff", profile_);
  ASSERT_TRUE(stored) << stored.error().message;
  const auto loaded = profiles.load("00ff");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->format(), profile_.format());
  EXPECT_FALSE(profiles.load("00fe"));
  EXPECT_EQ(fs::status(entry().parent_path()).permissions(), fs::perms::owner_all);
  EXPECT_EQ(std::distance(fs::directory_iterator(entry().parent_path()), fs::directory_iterator()), 1);
}

TEST_F(CacheTest, ReplacesWhatIsCorruptOrOutdated) {
  const ProfileCache profiles(cache());
  ASSERT_TRUE(profiles.store("00ff", profile_));
  std::string outdated = profile_.format();
  outdated[16] = outdated[16] == '0' ? '1' : '0';  // the digest of schema.def
  for (const std::string& text : {std::string(), std::string("garbage"), outdated, std::string(1 << 20, 'x')}) {
    std::ofstream(entry(), std::ios::trunc) << text;
    EXPECT_FALSE(profiles.load("00ff"));
    ASSERT_TRUE(profiles.store("00ff", profile_));
    EXPECT_TRUE(profiles.load("00ff"));
  }
}

TEST_F(CacheTest, TrustsOnlyItsOwnFiles) {
  const ProfileCache profiles(cache());
  ASSERT_TRUE(profiles.store("00ff", profile_));
  fs::permissions(entry(), fs::perms::others_write, fs::perm_options::add);
  EXPECT_FALSE(profiles.load("00ff"));
  fs::remove(entry());
  mkfifo(entry().c_str(), 0600);
  EXPECT_FALSE(profiles.load("00ff"));
  fs::remove(entry());
  fs::create_symlink("/dev/zero", entry());
  EXPECT_FALSE(profiles.load("00ff"));
  ASSERT_TRUE(profiles.store("00ff", profile_));
  EXPECT_TRUE(profiles.load("00ff"));
  fs::permissions(entry().parent_path(), fs::perms::group_write, fs::perm_options::add);
  EXPECT_FALSE(profiles.load("00ff"));
  EXPECT_FALSE(profiles.store("00ff", profile_));
}

TEST_F(CacheTest, KeysAreHex) {
  const ProfileCache profiles(cache());
  for (const char* key : {"", "../00ff", "00FF", "a/b", "."}) {
    EXPECT_EQ(profiles.store(key, profile_).error().code, Errc::invalid) << key;
    EXPECT_FALSE(profiles.load(key));
  }
  EXPECT_FALSE(profiles.store(std::string(200, 'a'), profile_));
}

}  // namespace
}  // namespace oboro::guest
