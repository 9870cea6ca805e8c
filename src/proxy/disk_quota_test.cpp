// What the files of a service may take on the disk, by the service's calls.
#include "proxy/disk_quota.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "proxy/files.h"
#include "proxy/files_test.h"

namespace oboro::proxy {
namespace {

constexpr uint64_t kMost = 4 << 20;
constexpr uint64_t kMeta = 64 << 10;  // for directories, and for what a file system notes about a file

class DiskQuotaTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/oboro-quota-XXXXXX";
    ASSERT_TRUE(mkdtemp(name));
    top = name;
    start();
  }
  void TearDown() override {
    files.reset();
    std::filesystem::remove_all(top);
  }
  // As a proxy that starts: it counts what is there.
  void start(uint64_t most = kMost) {
    handles = std::make_unique<Handles>(100);
    DiskLimits limits;
    limits.most = most;
    limits.most_files = 10000;
    files = std::make_unique<Files>(UniqueFd(::open(top.c_str(), O_PATH | O_DIRECTORY)), *handles, limits);
    const auto counted = files->count();
    ASSERT_TRUE(counted) << counted.error().message;
  }
  uint64_t used() const { return files->quota().used(); }
  int64_t call(Op op, uint32_t handle, std::array<int64_t, 4> arguments, std::string_view first = {},
               std::string_view second = {}) {
    return files->execute(frame_for(op, handle, arguments, first, second)).result;
  }
  uint32_t open(std::string_view path, int64_t flags = O_RDWR | O_CREAT) {
    const int64_t handle = call(Op::open, 0, {flags, 0600}, path);
    EXPECT_GT(handle, 0) << path;
    return static_cast<uint32_t>(handle);
  }
  void close(uint32_t handle) { EXPECT_EQ(call(Op::close, handle, {}), 0); }
  int64_t write(uint32_t handle, size_t size, int64_t offset = -1) {
    return call(Op::write, handle, {offset}, std::string(size, 'x'));
  }
  // Writes until there is no room, and returns how much.
  uint64_t fill(uint32_t handle) {
    uint64_t all = 0;
    for (int i = 0; i < 10000; ++i) {
      const int64_t wrote = write(handle, 50'000);
      if (wrote < 0) {
        EXPECT_EQ(wrote, -ENOSPC);
        return all;
      }
      all += static_cast<uint64_t>(wrote);
    }
    ADD_FAILURE() << "it is never full";
    return all;
  }
  void expect_about(uint64_t bytes) const {
    EXPECT_GE(used() + DiskQuota::kBlock, bytes);
    EXPECT_LE(used(), bytes + kMeta);
  }

  std::string top;
  std::unique_ptr<Handles> handles;
  std::unique_ptr<Files> files;
};

TEST_F(DiskQuotaTest, AFileGrowsAsFarAsThereIsRoomAndNoFurther) {
  const uint32_t file = open("/a", O_RDWR | O_CREAT | O_APPEND);
  const uint64_t all = fill(file);
  EXPECT_LE(all, kMost);
  EXPECT_GT(all, kMost - 2 * kMeta);
  EXPECT_LE(used(), kMost);
  EXPECT_EQ(std::filesystem::file_size(top + "/a"), all);
  // What is there may be written anew, and read; no other file is made, and one that is there is opened.
  EXPECT_EQ(write(open("/a"), 100'000, 5'000), 100'000);
  EXPECT_EQ(call(Op::open, 0, {O_RDWR | O_CREAT, 0600}, "/b"), -ENOSPC);
  EXPECT_EQ(call(Op::open, 0, {O_RDWR | O_CREAT | O_EXCL, 0600}, "/a"), -EEXIST);
  EXPECT_EQ(call(Op::mkdir, 0, {0700}, "/d"), -ENOSPC);
  EXPECT_EQ(call(Op::mkdir, 0, {0700}, "/a"), -EEXIST);
  EXPECT_EQ(call(Op::symlink, 0, {}, "a", "/l"), -ENOSPC);
  EXPECT_EQ(call(Op::link, 0, {}, "/a", "/l"), -ENOSPC);
  ASSERT_EQ(call(Op::truncate, file, {static_cast<int64_t>(all) - 500'000}), 0);
  EXPECT_EQ(write(file, 100'000), 100'000);
}

TEST_F(DiskQuotaTest, HolesTakeNothing) {
  const uint64_t before = used();
  const uint32_t file = open("/a");
  EXPECT_EQ(call(Op::truncate, file, {int64_t{1} << 30}), 0);
  EXPECT_EQ(write(file, 1, int64_t{1} << 31), 1);
  EXPECT_LE(used(), before + kMeta);
  // Beyond the end, and in the middle of a hole: it is the blocks that count.
  EXPECT_EQ(write(file, 1 << 20, int64_t{1} << 29), 1 << 20);
  expect_about(before + (1 << 20));
  if (call(Op::fallocate, file, {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, int64_t{1} << 29, 1 << 20}) == -EOPNOTSUPP)
    GTEST_SKIP() << "this host: /tmp is on a file system that makes no holes";
  EXPECT_LE(used(), before + kMeta);
}

TEST_F(DiskQuotaTest, WhatIsAllocatedCountsBeforeItIsWritten) {
  const uint64_t before = used();
  const uint32_t file = open("/a");
  const int64_t done = call(Op::fallocate, file, {FALLOC_FL_KEEP_SIZE, 0, 2 << 20});
  if (done == -EOPNOTSUPP) GTEST_SKIP() << "this host: /tmp is on a file system that does not allocate beforehand";
  ASSERT_EQ(done, 0);
  expect_about(before + (2 << 20));
  EXPECT_EQ(write(file, 1000), 1000);
  expect_about(before + (2 << 20));
  EXPECT_EQ(call(Op::fallocate, file, {0, 2 << 20, 3 << 20}), -ENOSPC);
  EXPECT_EQ(call(Op::fallocate, file, {0, 0, int64_t{1} << 62}), -ENOSPC);
  expect_about(before + (2 << 20));
  ASSERT_EQ(call(Op::truncate, file, {500}), 0);
  EXPECT_LE(used(), before + kMeta);
}

TEST_F(DiskQuotaTest, WhatIsRemovedIsGivenBackWhenNobodyHasItOpen) {
  const uint64_t before = used();
  const uint32_t file = open("/a");
  ASSERT_EQ(write(file, 1 << 20), 1 << 20);
  expect_about(before + (1 << 20));
  ASSERT_EQ(call(Op::link, 0, {}, "/a", "/b"), 0);
  expect_about(before + (1 << 20));
  ASSERT_EQ(call(Op::unlink, 0, {}, "/a"), 0);
  ASSERT_EQ(call(Op::unlink, 0, {}, "/b"), 0);
  expect_about(before + (1 << 20));
  ASSERT_EQ(write(file, 1 << 20), 1 << 20) << "it has no name, and grows";
  expect_about(before + (2 << 20));
  close(file);
  EXPECT_LE(used(), before + kMeta);
  ASSERT_EQ(call(Op::mkdir, 0, {0700}, "/d"), 0);
  ASSERT_EQ(call(Op::symlink, 0, {}, "target", "/d/l"), 0);
  ASSERT_EQ(call(Op::unlink, 0, {}, "/d/l"), 0);
  const uint64_t with = used();
  ASSERT_EQ(call(Op::unlink, 0, {1}, "/d"), 0);
  EXPECT_LT(used(), with);
}

TEST_F(DiskQuotaTest, WhatIsReplacedIsGivenBack) {
  const uint64_t before = used();
  for (const char* name : {"/a", "/b"}) {
    const uint32_t file = open(name);
    ASSERT_EQ(write(file, 1 << 20), 1 << 20);
    close(file);
  }
  expect_about(before + (2 << 20));
  ASSERT_EQ(call(Op::rename, 0, {RENAME_EXCHANGE}, "/a", "/b"), 0);
  expect_about(before + (2 << 20));
  ASSERT_EQ(call(Op::rename, 0, {}, "/a", "/b"), 0);
  expect_about(before + (1 << 20));
  close(open("/b", O_RDWR | O_TRUNC));
  EXPECT_LE(used(), before + kMeta);
}

// A save in the way of editors, again and again: nothing is lost from the count, nor left in it.
TEST_F(DiskQuotaTest, ItDoesNotDrift) {
  for (int i = 0; i < 50; ++i) {
    const uint32_t file = open("/new", O_RDWR | O_CREAT | O_TRUNC);
    for (int part = 0; part < 4; ++part) ASSERT_EQ(write(file, 200'000), 200'000) << i;
    close(file);
    ASSERT_EQ(call(Op::rename, 0, {}, "/new", "/saved"), 0);
  }
  const uint64_t counted = used();
  start();
  EXPECT_LE(std::max(counted, used()) - std::min(counted, used()), kMeta);
}

TEST_F(DiskQuotaTest, WhatIsThereIsCountedAtTheStart) {
  std::string deep = top;
  for (int i = 0; i < 50; ++i) std::filesystem::create_directory(deep += "/a-directory");
  for (const std::string& path : {top + "/a", deep + "/b"}) {
    const UniqueFd file(::open(path.c_str(), O_CREAT | O_RDWR, 0600));
    const std::string data(1 << 20, 'x');
    ASSERT_EQ(::write(file.get(), data.data(), data.size()), 1 << 20);
  }
  ASSERT_EQ(link((top + "/a").c_str(), (top + "/a-directory/a2").c_str()), 0);
  ASSERT_EQ(chmod((top + "/a-directory/a-directory").c_str(), 0), 0);
  start();
  const uint64_t directories = 52 * 2 * DiskQuota::kPerFile;
  EXPECT_GE(used() + DiskQuota::kBlock, 2u << 20);
  EXPECT_LE(used(), (2 << 20) + directories + kMeta);
  struct stat status {};
  ASSERT_EQ(stat((top + "/a-directory/a-directory").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0u) << "as it was";
  chmod((top + "/a-directory/a-directory").c_str(), 0700);
  start(1 << 20);
  EXPECT_EQ(write(open("/a", O_RDWR | O_APPEND), 100), -ENOSPC) << "there is more than may be";
  EXPECT_EQ(call(Op::unlink, 0, {}, "/a"), 0);
}

TEST_F(DiskQuotaTest, FilesWithoutContentCountToo) {
  int made = 0;
  for (int64_t result = 0; made < 5000; ++made) {
    result = call(Op::open, 0, {O_RDWR | O_CREAT, 0600}, "/" + std::string(200, 'n') + std::to_string(made));
    if (result < 0) {
      EXPECT_EQ(result, -ENOSPC);
      break;
    }
    close(static_cast<uint32_t>(result));
  }
  EXPECT_LE(made, static_cast<int>(kMost / DiskQuota::kPerFile));
  EXPECT_GT(made, 500);
}

TEST_F(DiskQuotaTest, AFileThatNeverHadANameCountsAsLongAsItIsOpen) {
  const uint64_t before = used();
  const int64_t file = call(Op::open, 0, {O_TMPFILE | O_EXCL | O_RDWR, 0600}, "/");
  if (file == -EOPNOTSUPP || file == -EISDIR) GTEST_SKIP() << "this host: /tmp is on a file system without such files";
  ASSERT_GT(file, 0);
  ASSERT_EQ(write(static_cast<uint32_t>(file), 1 << 20), 1 << 20);
  expect_about(before + (1 << 20));
  close(static_cast<uint32_t>(file));
  EXPECT_LE(used(), before + kMeta);
}

TEST_F(DiskQuotaTest, WritersBesideEachOtherGetNoMoreTogether) {
  std::array<uint32_t, 4> written{};
  for (size_t i = 0; i < written.size(); ++i) written[i] = open("/" + std::to_string(i % 2));  // two of each
  std::vector<std::thread> threads;
  for (const uint32_t handle : written) threads.emplace_back([this, handle] { fill(handle); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(used(), kMost);
  const uint64_t counted = used();
  start();
  EXPECT_LE(used(), kMost + kMeta);
  EXPECT_LE(std::max(counted, used()) - std::min(counted, used()), kMeta);
}

TEST_F(DiskQuotaTest, TheFileSystemIsAsLargeAsWhatItMayHave) {
  Frame frame;
  frame.op = Op::statfs;
  frame.first = bytes_of("/");
  const Done done = files->execute(frame);
  struct statfs status {};
  ASSERT_EQ(done.first.size(), sizeof status);
  std::memcpy(&status, done.first.data(), sizeof status);
  EXPECT_LE(status.f_blocks * static_cast<uint64_t>(status.f_bsize), kMost);
  EXPECT_LE(status.f_bavail, status.f_blocks);
}

}  // namespace
}  // namespace oboro::proxy
