#include "proxy/directories.h"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/fd.h"

namespace oboro::proxy {
namespace {

namespace fs = std::filesystem;

class DirectoriesTest : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/oboro-directories-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    top = path;
    fs::create_directories(top + "/root");
    fs::create_directories(top + "/outside");
    root = UniqueFd(open((top + "/root").c_str(), O_PATH | O_DIRECTORY));
  }
  void TearDown() override { fs::remove_all(top); }
  std::string top;
  UniqueFd root;
};

TEST_F(DirectoriesTest, MakesThemAllAndAgain) {
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(make_directories(root.get(), "/var//log/./secure/"));
  EXPECT_TRUE(fs::is_directory(top + "/root/var/log/secure"));
  EXPECT_TRUE(make_directories(root.get(), ""));
  EXPECT_TRUE(make_directories(root.get(), "/"));
}

TEST_F(DirectoriesTest, FollowsNoLinkThatTheServiceHasMade) {
  fs::create_symlink(top + "/outside", top + "/root/var");
  fs::create_symlink("..", top + "/root/up");
  EXPECT_TRUE(make_directories(root.get(), "/var/log"));
  EXPECT_TRUE(make_directories(root.get(), "/up/outside/log"));
  EXPECT_FALSE(fs::exists(top + "/outside/log"));
}

TEST_F(DirectoriesTest, LeavesAFileThatIsInTheWay) {
  std::ofstream(top + "/root/var") << "text";
  EXPECT_TRUE(make_directories(root.get(), "/var/log"));
  EXPECT_TRUE(fs::is_regular_file(top + "/root/var"));
}

TEST_F(DirectoriesTest, GoesNotUpwards) {
  EXPECT_FALSE(make_directories(root.get(), "/../outside/log"));
  EXPECT_FALSE(fs::exists(top + "/outside/log"));
}

}  // namespace
}  // namespace oboro::proxy
