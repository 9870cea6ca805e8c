#include "proxy/files.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <stdlib.h>
#include <string>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <thread>
#include <unistd.h>

#include "proxy/files_test.h"

namespace oboro::proxy {
namespace {

class FilesTest : public testing::Test {
 protected:
  void SetUp() override {
    umask(0);
    char path[] = "/tmp/oboro-files-test-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    top = path;
    std::filesystem::create_directories(top + "/root/var/log");
    std::ofstream(top + "/outside") << "outside";
    files = std::make_unique<Files>(UniqueFd(open((top + "/root").c_str(), O_PATH | O_DIRECTORY)), handles);
  }
  void TearDown() override {
    open_up(top);
    std::filesystem::remove_all(top);
  }
  // Calls may have taken all rights from a directory, and who is not root could not remove it.
  static void open_up(const std::filesystem::path& directory) {
    std::filesystem::permissions(directory, std::filesystem::perms::owner_all, std::filesystem::perm_options::add);
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      if (!entry.is_symlink() && entry.is_directory()) open_up(entry.path());
  }

  Done call(Op op, std::array<int64_t, 4> arguments, std::string_view first = {}, std::string_view second = {},
            uint32_t handle = 0) {
    return files->execute(frame_for(op, handle, arguments, first, second));
  }
  int64_t result(Op op, std::array<int64_t, 4> arguments, std::string_view first = {}, std::string_view second = {},
                 uint32_t handle = 0) {
    return call(op, arguments, first, second, handle).result;
  }
  uint32_t opened(std::string_view path, int64_t flags, int64_t mode = 0644) {
    const int64_t handle = result(Op::open, {flags, mode}, path);
    EXPECT_GT(handle, 0) << path << ": " << strerror(static_cast<int>(-handle));
    return static_cast<uint32_t>(std::max<int64_t>(handle, 0));
  }
  static std::string text(const Done& outcome) {
    return {reinterpret_cast<const char*>(outcome.first.data()), outcome.first.size()};
  }
  struct statx status(std::string_view path, bool follow = true, uint32_t handle = 0) {
    const Done outcome = call(Op::statx, {follow}, path, {}, handle);
    struct statx out {};
    EXPECT_EQ(outcome.result, 0) << path;
    if (outcome.first.size() == sizeof out) std::memcpy(&out, outcome.first.data(), sizeof out);
    return out;
  }
  std::set<std::string> names(std::string_view path) {
    const uint32_t directory = opened(path, O_RDONLY | O_DIRECTORY);
    std::set<std::string> found;
    for (;;) {
      const Done outcome = call(Op::getdents, {4096}, {}, {}, directory);
      if (outcome.result <= 0) break;
      for (size_t at = 0; at < outcome.first.size();) {
        uint16_t size;
        std::memcpy(&size, outcome.first.data() + at + 16, sizeof size);
        found.insert(reinterpret_cast<const char*>(outcome.first.data()) + at + 19);
        at += size;
      }
    }
    EXPECT_EQ(result(Op::close, {}, {}, {}, directory), 0);
    return found;
  }

  std::string top;
  Handles handles{64};
  std::unique_ptr<Files> files;
};

TEST_F(FilesTest, WritesAndReads) {
  const uint32_t file = opened("/var/log/a", O_RDWR | O_CREAT | O_EXCL, 0640);
  EXPECT_EQ(result(Op::open, {O_RDWR | O_CREAT | O_EXCL, 0640}, "/var/log/a"), -EEXIST);
  EXPECT_EQ(result(Op::write, {-1}, "hello world", {}, file), 11);
  EXPECT_EQ(result(Op::lseek, {6, SEEK_SET}, {}, {}, file), 6);
  EXPECT_EQ(text(call(Op::read, {100, -1}, {}, {}, file)), "world");
  EXPECT_EQ(text(call(Op::read, {4, 1}, {}, {}, file)), "ello");
  EXPECT_EQ(result(Op::write, {0}, "J", {}, file), 1);
  EXPECT_EQ(result(Op::fsync, {1}, {}, {}, file), 0);
  EXPECT_EQ(result(Op::truncate, {5}, {}, {}, file), 0);
  EXPECT_EQ(status("/var/log/a").stx_size, 5u);
  EXPECT_EQ(status("/var/log/a").stx_mode & 0777, 0640);
  EXPECT_EQ(result(Op::fallocate, {0, 0, 8192}, {}, {}, file), 0);
  EXPECT_EQ(status({}, true, file).stx_size, 8192u);
  EXPECT_EQ(result(Op::close, {}, {}, {}, file), 0);
  EXPECT_EQ(result(Op::close, {}, {}, {}, file), -EBADF);
  EXPECT_EQ(result(Op::read, {1, -1}, {}, {}, file), -EBADF);
  EXPECT_TRUE(std::filesystem::exists(top + "/root/var/log/a"));
}

TEST_F(FilesTest, SaysWhichFileIsOpen) {
  opened("/a", O_CREAT | O_RDWR);
  opened("/b", O_CREAT | O_RDWR);
  EXPECT_EQ(result(Op::link, {}, "/a", "/var/same"), 0);
  const int64_t which = call(Op::open, {O_RDONLY}, "/a").extra;
  EXPECT_NE(which, 0);
  EXPECT_EQ(call(Op::open, {O_RDWR}, "/var/same").extra, which);
  EXPECT_NE(call(Op::open, {O_RDONLY}, "/b").extra, which);
}

TEST_F(FilesTest, LinksFollowAndGoByHandle) {
  opened("/file", O_CREAT | O_RDWR);
  EXPECT_EQ(result(Op::symlink, {}, "../file", "/var/link"), 0);
  EXPECT_EQ(result(Op::symlink, {}, "/var/link", "/var/log/far"), 0);
  EXPECT_EQ(result(Op::link, {1}, "/var/log/far", "/followed"), 0);
  EXPECT_EQ(status("/followed", false).stx_nlink, 2u);
  EXPECT_EQ(result(Op::link, {0}, "/var/log/far", "/link-itself"), 0);
  EXPECT_EQ(text(call(Op::readlink, {}, "/link-itself")), "/var/link");
  EXPECT_EQ(result(Op::symlink, {}, "/../../../outside", "/out"), 0);
  EXPECT_EQ(result(Op::link, {1}, "/out", "/leaked"), -ENOENT);
  EXPECT_EQ(result(Op::symlink, {}, "/round", "/round"), 0);
  EXPECT_EQ(result(Op::link, {1}, "/round", "/x"), -ELOOP);
  EXPECT_EQ(result(Op::link, {1}, "/var/", "/x"), -EPERM);
  // By handle, as long as the handle's path leads to the file.
  const uint32_t handle = opened("/file", O_RDONLY);
  EXPECT_EQ(result(Op::link, {0}, "/file", "/by-handle", handle), 0);
  opened("/other", O_CREAT | O_RDWR);
  EXPECT_EQ(result(Op::rename, {}, "/other", "/file"), 0);
  EXPECT_EQ(result(Op::link, {0}, "/file", "/wrong", handle), -ENOENT);
  EXPECT_EQ(result(Op::link, {0}, "/file", "/wrong", 999), -EBADF);
  const uint32_t link = opened("/round", O_PATH | O_NOFOLLOW);
  EXPECT_EQ(text(call(Op::readlink, {}, {}, {}, link)), "/round");
  EXPECT_EQ(result(Op::readlink, {}, {}, {}, handle), -ENOENT) << "as readlinkat with an empty path";
}

TEST_F(FilesTest, SlashMeansDirectory) {
  opened("/file", O_CREAT | O_RDWR);
  EXPECT_EQ(result(Op::unlink, {0}, "/file/"), -ENOTDIR);
  EXPECT_EQ(result(Op::rename, {}, "/file", "/new/"), -ENOTDIR);
  EXPECT_EQ(result(Op::rename, {}, "/file/", "/new"), -ENOTDIR);
  EXPECT_EQ(result(Op::link, {}, "/file", "/new/"), -ENOENT);
  EXPECT_EQ(result(Op::link, {}, "/file/", "/new"), -ENOTDIR);
  EXPECT_EQ(result(Op::symlink, {}, "x", "/new/"), -ENOENT);
  EXPECT_EQ(result(Op::mkdir, {0755}, "/new/"), 0);
  EXPECT_EQ(result(Op::rename, {}, "/new/", "/newer//"), 0);
  // A link with a slash stands for what it leads to: here, that is outside.
  EXPECT_EQ(symlink(top.c_str(), (top + "/root/up").c_str()), 0);
  EXPECT_EQ(result(Op::link, {}, "/up/", "/x"), -ENOENT);
  EXPECT_EQ(result(Op::unlink, {1}, "/up/"), -ENOTDIR);
  EXPECT_EQ(result(Op::unlink, {1}, "/newer/"), 0);
}

TEST_F(FilesTest, NamelessFilesStaySo) {
  const int64_t flags = O_TMPFILE | O_RDWR;
  const Done got = call(Op::open, {flags | O_EXCL, 0600}, "/var");
  if (got.result == -EOPNOTSUPP) GTEST_SKIP() << "this host: this file system has none";
  ASSERT_GT(got.result, 0);
  const auto file = static_cast<uint32_t>(got.result);
  EXPECT_EQ(result(Op::write, {-1}, "x", {}, file), 1);
  EXPECT_EQ(status({}, true, file).stx_nlink, 0u);
  EXPECT_EQ(names("/var"), (std::set<std::string>{".", "..", "log"}));
  EXPECT_EQ(result(Op::open, {flags, 0600}, "/var"), -EOPNOTSUPP);
}

TEST_F(FilesTest, AppendsAndChangesItsMind) {
  const uint32_t file = opened("/log", O_WRONLY | O_CREAT | O_APPEND);
  const uint32_t other = opened("/log", O_WRONLY);
  EXPECT_EQ(result(Op::write, {-1}, "one", {}, file), 3);
  EXPECT_EQ(result(Op::write, {-1}, "ONE", {}, other), 3);
  EXPECT_EQ(result(Op::write, {-1}, "two", {}, file), 3);
  EXPECT_EQ(result(Op::setfl, {O_APPEND}, {}, {}, other), 0);
  EXPECT_EQ(result(Op::write, {-1}, "three", {}, other), 5);
  const uint32_t reader = opened("/log", O_RDONLY);
  EXPECT_EQ(text(call(Op::read, {100, -1}, {}, {}, reader)), "ONEtwothree");
  EXPECT_EQ(result(Op::write, {-1}, "x", {}, reader), -EBADF);
}

TEST_F(FilesTest, Names) {
  opened("/a", O_WRONLY | O_CREAT);
  EXPECT_EQ(result(Op::mkdir, {0755}, "/d"), 0);
  EXPECT_EQ(result(Op::mkdir, {0755}, "/d/"), -EEXIST);
  EXPECT_EQ(result(Op::rename, {0}, "/a", "/d/b"), 0);
  EXPECT_EQ(result(Op::link, {0}, "/d/b", "/c"), 0);
  EXPECT_EQ(status("/c").stx_nlink, 2u);
  EXPECT_EQ(result(Op::symlink, {}, "d/b", "/s"), 0);
  EXPECT_EQ(text(call(Op::readlink, {}, "/s")), "d/b");
  EXPECT_EQ(result(Op::readlink, {}, "/c"), -EINVAL);
  EXPECT_TRUE(S_ISLNK(status("/s", false).stx_mode));
  EXPECT_TRUE(S_ISREG(status("/s", true).stx_mode));
  EXPECT_EQ(names("/"), (std::set<std::string>{".", "..", "c", "d", "s", "var"}));
  EXPECT_EQ(result(Op::rename, {RENAME_NOREPLACE}, "/c", "/d/b"), -EEXIST);
  EXPECT_EQ(result(Op::unlink, {0}, "/c"), 0);
  EXPECT_EQ(result(Op::unlink, {0}, "/c"), -ENOENT);
  EXPECT_EQ(result(Op::unlink, {0}, "/d"), -EISDIR);
  EXPECT_EQ(result(Op::unlink, {1}, "/d"), -ENOTEMPTY);
  EXPECT_EQ(result(Op::access, {R_OK, 1}, "/s"), 0);
  EXPECT_EQ(result(Op::access, {F_OK, 1}, "/nothing"), -ENOENT);
}

TEST_F(FilesTest, ModesTimesAndOwners) {
  const uint32_t file = opened("/a", O_WRONLY | O_CREAT);
  EXPECT_EQ(result(Op::chmod, {06711}, "/a"), 0);
  EXPECT_EQ(status("/a").stx_mode & 07777, 0711) << "nothing gets set-user-ID";
  const timespec times[2] = {{1000, 0}, {2000, 5}};
  const std::string_view bytes(reinterpret_cast<const char*>(times), sizeof times);
  EXPECT_EQ(result(Op::utimens, {1}, "/a", bytes), 0);
  EXPECT_EQ(status("/a").stx_mtime.tv_sec, 2000);
  EXPECT_EQ(result(Op::utimens, {}, {}, {}, file), 0);
  EXPECT_GT(status("/a").stx_mtime.tv_sec, 1000000);
  EXPECT_EQ(result(Op::utimens, {1}, "/a", bytes.substr(1)), -EINVAL);
  EXPECT_EQ(status("/a").stx_uid, 0u) << "never the host's numbers";
  const bool kept = setxattr((top + "/root/a").c_str(), "user.probe", "", 0, 0) == 0;
  EXPECT_EQ(result(Op::chown, {104, 4, 1}, "/a"), kept ? 0 : -EPERM);
  if (kept) {
    EXPECT_EQ(result(Op::chown, {-1, 5}, {}, {}, file), 0);
    EXPECT_EQ(status("/a").stx_uid, 104u);
    EXPECT_EQ(status({}, true, file).stx_gid, 5u);
  }
  EXPECT_EQ(result(Op::chown, {-2, 4, 1}, "/a"), -EINVAL);
  struct stat real {};
  ASSERT_EQ(stat((top + "/root/a").c_str(), &real), 0);
  EXPECT_EQ(real.st_uid, geteuid()) << "on the host nothing changes hands";
}

TEST_F(FilesTest, TheRootStaysOpen) {
  EXPECT_EQ(result(Op::symlink, {}, "..", "/l"), 0);
  EXPECT_EQ(result(Op::chmod, {0}, "/l"), 0);
  EXPECT_EQ(result(Op::chmod, {05}, "/"), 0);
  EXPECT_EQ(result(Op::chmod, {0}, {}, {}, opened("/", O_RDONLY)), 0);
  EXPECT_EQ(status("/").stx_mode & 07777, 0700);
  EXPECT_EQ(result(Op::mkdir, {0700}, "/e"), 0);
  EXPECT_EQ(result(Op::chmod, {05}, "/e"), 0);
  EXPECT_EQ(status("/e").stx_mode & 07777, 05) << "others are the service's matter";
}

TEST_F(FilesTest, NonsenseIsRefused) {
  const uint32_t file = opened("/a", O_RDWR | O_CREAT);
  const std::string zero("/a\0b", 4), longest(kMaxPath, 'x');
  for (const Op op : {Op::open, Op::statx, Op::statfs, Op::access, Op::truncate, Op::unlink, Op::mkdir, Op::readlink,
                      Op::chmod, Op::chown, Op::utimens}) {
    EXPECT_EQ(result(op, {}, ""), -ENOENT) << static_cast<int>(op);
    EXPECT_EQ(result(op, {}, zero), -EINVAL) << static_cast<int>(op);
    EXPECT_EQ(result(op, {}, longest), -ENAMETOOLONG) << static_cast<int>(op);
  }
  EXPECT_EQ(result(Op::read, {-1, -1}, {}, {}, file), -EINVAL);
  EXPECT_EQ(result(Op::read, {1, -2}, {}, {}, file), -EINVAL);
  EXPECT_EQ(result(Op::read, {INT64_MAX, 0}, {}, {}, file), 0);
  EXPECT_EQ(result(Op::write, {INT64_MAX}, "x", {}, file), -EINVAL);
  EXPECT_EQ(result(Op::lseek, {0, INT64_MAX}, {}, {}, file), -EINVAL);
  EXPECT_EQ(result(Op::getdents, {100}, {}, {}, file), -ENOTDIR);
  EXPECT_EQ(result(Op::read, {100, -1}, {}, {}, opened("/", O_RDONLY)), -EISDIR);
  EXPECT_EQ(result(Op::rename, {1 << 2}, "/a", "/b"), -EINVAL) << "RENAME_WHITEOUT";
  EXPECT_EQ(result(Op::open, {O_WRONLY, 0}, "/"), -EISDIR);
  for (const char* special : {"/", "/.", "/..", "/var/.."}) {
    EXPECT_LT(result(Op::unlink, {1}, special), 0) << special;
    EXPECT_LT(result(Op::mkdir, {0755}, special), 0) << special;
    EXPECT_LT(result(Op::rename, {0}, special, "/x"), 0) << special;
  }
}

TEST_F(FilesTest, HandlesAreLimited) {
  int64_t last = 1;
  for (int i = 0; i < 64; ++i) last = result(Op::open, {O_RDONLY}, "/");
  EXPECT_GT(last, 0);
  EXPECT_EQ(result(Op::open, {O_RDONLY}, "/"), -ENFILE);
  EXPECT_EQ(result(Op::close, {}, {}, {}, static_cast<uint32_t>(last)), 0);
  EXPECT_GT(result(Op::open, {O_RDONLY}, "/"), 0);
}

TEST_F(FilesTest, NothingButFilesIsThere) {
  ASSERT_EQ(mkfifo((top + "/root/fifo").c_str(), 0666), 0);
  EXPECT_EQ(result(Op::open, {O_RDONLY}, "/fifo"), -ENXIO) << "and it does not wait";
  EXPECT_LT(result(Op::open, {O_WRONLY}, "/fifo"), 0);
  if (geteuid() == 0 && mknod((top + "/root/null").c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0) {
    EXPECT_LT(result(Op::open, {O_RDWR}, "/null"), 0);
  }
}

// Known ways out of other confinements.
TEST_F(FilesTest, NoPathLeadsOut) {
  const std::string root = top + "/root";
  std::filesystem::create_symlink(top + "/outside", root + "/absolute");
  std::filesystem::create_symlink("../outside", root + "/up");
  std::filesystem::create_symlink("../../../../../../../../../.." + top + "/outside", root + "/far-up");
  std::filesystem::create_symlink("..", root + "/var/log/out");
  std::filesystem::create_symlink("/proc/self/root" + top + "/outside", root + "/proc");
  std::filesystem::create_symlink(".", root + "/self");
  std::filesystem::create_symlink("loop", root + "/loop");
  const std::vector<std::string> paths = {"/absolute",
                                          "/up",
                                          "/far-up",
                                          "/proc",
                                          "/../outside",
                                          "/var/../../outside",
                                          "/../../../../../../.." + top + "/outside",
                                          "/var/log/out/out/../outside",
                                          "/var/log/out/../../../outside",
                                          "/self/self/../../outside",
                                          "/./.././../outside",
                                          top + "/outside",
                                          "../outside",
                                          "outside",
                                          "//../outside",
                                          "/loop",
                                          "/proc/self/root" + top + "/outside"};
  for (const std::string& path : paths) {
    EXPECT_LT(result(Op::open, {O_RDONLY}, path), 0) << path;
    EXPECT_LT(result(Op::open, {O_RDWR | O_TRUNC}, path), 0) << path;
    EXPECT_LT(result(Op::statx, {1}, path), 0) << path;
    EXPECT_LT(result(Op::truncate, {0}, path), 0) << path;
    EXPECT_LT(result(Op::chmod, {0}, path), 0) << path;
  }
  for (const std::string& path : paths) {
    (void)result(Op::open, {O_RDWR | O_CREAT | O_TRUNC, 0666}, path);
    (void)result(Op::rename, {0}, path, "/stolen");
    (void)result(Op::link, {0}, path, "/linked");
    (void)result(Op::link, {0}, "/var", path);
    (void)result(Op::symlink, {}, "/etc/passwd", path);
    (void)result(Op::mkdir, {0777}, path);
    (void)result(Op::utimens, {1}, path);
    (void)result(Op::chown, {1, 1, 1}, path);
    (void)result(Op::unlink, {0}, path);
  }
  std::ifstream outside(top + "/outside");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(outside), {}), "outside");
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(top)) ++entries;
  EXPECT_EQ(entries, 2u) << "nothing came to be beside the root";
}

// Another thread moves directories about while paths are resolved.
TEST_F(FilesTest, RenamesMeanwhileLeadNowhere) {
  std::filesystem::create_directories(top + "/root/a/b/c");
  std::atomic<bool> over{false};
  std::thread mover([&] {
    const std::string from = top + "/root/a/b", to = top + "/root/b";
    while (!over) {
      ::rename(from.c_str(), to.c_str());
      ::rename(to.c_str(), from.c_str());
    }
  });
  for (int i = 0; i < 5000; ++i) {
    EXPECT_LT(result(Op::open, {O_RDONLY}, "/a/b/c/../../../../outside"), 0);
    EXPECT_LT(result(Op::statx, {1}, "/a/b/../../../outside"), 0);
  }
  over = true;
  mover.join();
}

TEST_F(FilesTest, GeneratedCallsDoNoHarm) {
  std::mt19937_64 random(1);
  const std::string words[] = {"/", "a", "..", "/var/log/x", "var", "./", "\0"};
  for (int i = 0; i < 20000; ++i) {
    Frame frame;
    frame.op = static_cast<Op>(random() % static_cast<uint64_t>(Op::count));
    frame.handle = random() % 2 ? 0 : static_cast<uint32_t>(random() % 80);
    for (int64_t& argument : frame.arguments) {
      const uint64_t value = random();
      argument = static_cast<int64_t>(value % 3 == 0 ? value : value % 3 == 1 ? value >> 40 : value % 8) - 1;
    }
    std::string first, second;
    for (uint64_t n = random() % 6; n > 0; --n) first += words[random() % std::size(words)];
    for (uint64_t n = random() % 4; n > 0; --n) second += words[random() % std::size(words)];
    frame.first = bytes_of(first);
    frame.second = bytes_of(second);
    // A sparse file of many terabytes does no harm, but its pages would.
    if (frame.op == Op::fallocate) continue;
    const Done outcome = files->execute(frame);
    EXPECT_GT(outcome.result, -4096);
  }
  std::ifstream outside(top + "/outside");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(outside), {}), "outside");
}

}  // namespace
}  // namespace oboro::proxy
