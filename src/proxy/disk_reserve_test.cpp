// Runs on a small file system of its own: 64 MiB and 2000 inodes, of which 16 MiB and 100 inodes stay free.
#include "proxy/disk_reserve.h"

#include <cerrno>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <string>
#include <sys/statfs.h>
#include <unistd.h>

#include "proxy/files.h"
#include "proxy/files_test.h"
#include "tests/support/base/testing.h"

namespace oboro::proxy {
namespace {

constexpr uint64_t kKept = 16 << 20, kKeptFiles = 100;

class DiskReserveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!disk.mounted()) GTEST_SKIP() << "this host: only who may mount has the small file system that it needs";
    make(true);
  }
  void make(bool shared) {
    files = std::make_unique<Files>(UniqueFd(open(top.c_str(), O_PATH | O_DIRECTORY)), handles, DiskLimits{shared});
  }
  int64_t call(Op op, uint32_t handle, std::array<int64_t, 4> arguments, std::string_view first = {},
               std::string_view second = {}) {
    return files->execute(frame_for(op, handle, arguments, first, second)).result;
  }
  uint32_t opened(std::string_view path, int64_t flags = O_RDWR | O_CREAT) {
    const int64_t handle = call(Op::open, 0, {flags, 0600}, path);
    EXPECT_GT(handle, 0) << path;
    return static_cast<uint32_t>(handle);
  }
  // Calls it until it is refused. Returns how often it was not.
  template <typename F>
  static int until_full(F once) {
    for (int i = 0; i < 100000; ++i)
      if (const int64_t result = once(i); result < 0) {
        EXPECT_EQ(result, -ENOSPC);
        return i;
      }
    ADD_FAILURE() << "it is never full";
    return 0;
  }
  struct statfs now() const {
    struct statfs all {};
    statfs(top.c_str(), &all);
    return all;
  }
  uint64_t free_bytes() const { return now().f_bfree * static_cast<uint64_t>(now().f_bsize); }

  testing::SmallDisk disk{"size=64m,mode=755,nr_inodes=2000"};
  const std::string& top = disk.path();
  Handles handles{1000};
  std::unique_ptr<Files> files;
};

TEST_F(DiskReserveTest, WritesEndBeforeTheDiskIsFull) {
  const uint32_t file = opened("/log");
  const std::string piece(100000, 'x');
  const int written = until_full([&](int) { return call(Op::write, file, {-1}, piece); });
  EXPECT_GT(written, 400) << "up to the reserve";
  until_full([&](int) { return call(Op::write, file, {-1}, std::string(4096, 'x')); });
  EXPECT_GE(free_bytes(), kKept);
  EXPECT_EQ(call(Op::write, file, {0}, std::string(4096, 'x')), -ENOSPC);
  EXPECT_EQ(call(Op::write, file, {-1}, ""), 0);
  EXPECT_EQ(call(Op::write, 77777, {-1}, "x"), -EBADF);
  // Calls that take no room, and calls that give room back, work as before.
  EXPECT_EQ(call(Op::read, file, {10, 0}), 10);
  EXPECT_EQ(call(Op::rename, 0, {}, "/log", "/old"), 0);
  EXPECT_EQ(call(Op::truncate, file, {60 << 20}), -ENOSPC);
  EXPECT_EQ(call(Op::link, 0, {}, "/old", "/new"), -ENOSPC);
  EXPECT_EQ(call(Op::link, 0, {}, "/old", "/old"), -EEXIST);
  EXPECT_EQ(call(Op::chown, file, {7, 7}), -ENOSPC);
  EXPECT_EQ(call(Op::truncate, file, {30 << 20}), 0);
  EXPECT_EQ(call(Op::write, file, {0}, piece), 100000) << "there is room again";
  EXPECT_EQ(call(Op::unlink, 0, {}, "/old"), 0);
}

// One byte in each block takes the whole block.
TEST_F(DiskReserveTest, HolesAndSmallWritesCount) {
  const uint32_t file = opened("/sparse");
  until_full([&](int i) { return call(Op::write, file, {int64_t{i} * 8192}, "x"); });
  EXPECT_GE(free_bytes(), kKept);
}

TEST_F(DiskReserveTest, WhatIsAllocatedAtOnce) {
  const uint32_t file = opened("/large");
  EXPECT_EQ(call(Op::fallocate, file, {0, 0, 60 << 20}), -ENOSPC);
  EXPECT_EQ(call(Op::fallocate, file, {0, 0, INT64_MAX}), -ENOSPC);
  EXPECT_EQ(call(Op::fallocate, file, {0, 0, -1}), -EINVAL);
  EXPECT_EQ(call(Op::fallocate, file, {0, 0, 40 << 20}), 0);
  EXPECT_EQ(call(Op::fallocate, file, {FALLOC_FL_KEEP_SIZE, 40 << 20, 20 << 20}), -ENOSPC);
  EXPECT_GE(free_bytes(), kKept);
  EXPECT_EQ(call(Op::fallocate, file, {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 30 << 20}), 0);
  EXPECT_EQ(call(Op::fallocate, file, {0, 0, 20 << 20}), 0);
}

TEST_F(DiskReserveTest, FilesEndBeforeTheInodesDo) {
  EXPECT_EQ(call(Op::mkdir, 0, {0700}, "/d"), 0);
  const int made = until_full([&](int i) {
    const std::string path = "/d/" + std::to_string(i);
    if (i % 3 == 0) return call(Op::mkdir, 0, {0700}, path);
    if (i % 3 == 1) return call(Op::symlink, 0, {}, "target", path);
    const int64_t handle = call(Op::open, 0, {O_WRONLY | O_CREAT, 0600}, path);
    return handle < 0 ? handle : call(Op::close, static_cast<uint32_t>(handle), {});
  });
  EXPECT_GT(made, 1500);
  EXPECT_GE(now().f_ffree, kKeptFiles);
  EXPECT_EQ(call(Op::open, 0, {O_WRONLY | O_CREAT, 0600}, "/d/new"), -ENOSPC);
  EXPECT_EQ(call(Op::open, 0, {O_WRONLY | O_TMPFILE | O_EXCL, 0600}, "/d"), -ENOSPC);
  EXPECT_EQ(call(Op::mkdir, 0, {0700}, "/d/new"), -ENOSPC);
  EXPECT_EQ(call(Op::symlink, 0, {}, "target", "/d/new"), -ENOSPC);
  // A file that is there needs no room.
  EXPECT_GT(call(Op::open, 0, {O_WRONLY | O_CREAT, 0600}, "/d/2"), 0);
  EXPECT_EQ(call(Op::open, 0, {O_WRONLY | O_CREAT | O_EXCL, 0600}, "/d/2"), -EEXIST);
  EXPECT_EQ(call(Op::open, 0, {O_WRONLY | O_CREAT | O_EXCL, 0600}, "/d/new"), -ENOSPC);
  EXPECT_EQ(call(Op::open, 0, {O_WRONLY | O_CREAT, 0600}, "/none/new"), -ENOENT);
  EXPECT_EQ(call(Op::mkdir, 0, {0700}, "/d/0"), -EEXIST);
  EXPECT_EQ(call(Op::symlink, 0, {}, "target", "/d/0"), -EEXIST);
  for (int i = 2; i < 200; i += 3) EXPECT_EQ(call(Op::unlink, 0, {}, "/d/" + std::to_string(i)), 0);
  EXPECT_EQ(call(Op::mkdir, 0, {0700}, "/d/new"), 0);
}

TEST_F(DiskReserveTest, ADiskOfItsOwnMayBeFull) {
  make(false);
  const uint32_t file = opened("/log");
  const std::string piece(1 << 20, 'x');
  int64_t done = 0;
  while ((done = call(Op::write, file, {-1}, piece)) == static_cast<int64_t>(piece.size())) {
  }
  EXPECT_LT(free_bytes(), kKept / 2);
}

}  // namespace
}  // namespace oboro::proxy
