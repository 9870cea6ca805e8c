// Where the paths of oboro-proxy lead: only to places beneath its root.

#include <atomic>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <thread>

#include "proxy/process_test.h"

namespace oboro::proxy {
namespace {

// Every call that takes a path, with each of these paths.
class EscapeTest : public ProxyTest {
 protected:
  static constexpr Op kWithPath[] = {Op::open,     Op::statx, Op::statfs, Op::access, Op::truncate,
                                     Op::rename,   Op::link,  Op::unlink, Op::mkdir,  Op::symlink,
                                     Op::readlink, Op::chmod, Op::chown,  Op::utimens};

  void check(const Reply& reply, const std::string& what) const {
    EXPECT_NE(reply.result, INT64_MIN) << what;
    EXPECT_EQ(reply.first.find(kSecret), std::string::npos) << what;
    if (reply.first.size() != sizeof(struct statx)) return;
    struct statx their {};
    std::memcpy(&their, reply.first.data(), sizeof their);
    struct stat ours {};
    for (const char* name : {"", "/outside", "/beside", "/beside/outside", "/beside/deep"}) {
      ASSERT_EQ(stat((top + name).c_str(), &ours), 0);
      EXPECT_FALSE(their.stx_ino == ours.st_ino && makedev(their.stx_dev_major, their.stx_dev_minor) == ours.st_dev)
          << what << " is " << name;
    }
  }
  void try_path(Proxy& proxy, const std::string& path) const {
    ASSERT_FALSE(proxy.ended()) << proxy.errors();
    const timespec now[2] = {{1, 1}, {1, 1}};
    for (const Op op : kWithPath) {
      const std::string what = std::to_string(static_cast<int>(op)) + " " + path;
      for (const int64_t argument : {0, 1}) {
        const auto second = op == Op::utimens ? raw(now) : std::string_view();
        check(proxy.call(op, 0, {argument, 0, argument}, path, second), what);
      }
      if (op != Op::rename && op != Op::link && op != Op::symlink) continue;
      check(proxy.call(op, 0, {}, "/inside", path), what);
      check(proxy.call(op, 0, {}, path, "/stolen"), what);
      check(proxy.call(op, 0, {RENAME_EXCHANGE}, "/inside", path), what);
      (void)proxy.call(Op::open, 0, {O_CREAT | O_WRONLY, 0600}, "/inside");
    }
    for (const int64_t flags :
         {O_RDONLY, O_RDWR, O_WRONLY | O_CREAT | O_TRUNC, O_RDWR | O_CREAT | O_EXCL, O_DIRECTORY}) {
      const int64_t handle = proxy.call(Op::open, 0, {flags, 0600}, path).result;
      if (handle <= 0) continue;
      const auto opened = static_cast<uint32_t>(handle);
      for (const Op op : {Op::statx, Op::read, Op::getdents})
        check(proxy.call(op, opened, {op == Op::read ? 1000 : 10000, op == Op::read ? 0 : 1}), path);
      (void)proxy.call(Op::write, opened, {0}, "overwritten");
      (void)proxy.call(Op::chmod, opened, {0777});
      EXPECT_EQ(proxy.call(Op::close, opened, {}).result, 0);
    }
  }
};

TEST_F(EscapeTest, NoPathLeadsOut) {
  const std::pair<const char*, std::string> links[] = {
      {"/absolute", top + "/outside"},
      {"/relative", "../outside"},
      {"/up", ".."},
      {"/up-up", "../.."},
      {"/slash", "/"},
      {"/chain", "up/outside"},
      {"/deep/up", "../../"},
      {"/deep/er/out", "../../../beside"},
      {"/self", "/proc/self/root"},
      {"/descriptor", "/proc/self/fd/23"},
      {"/cwd", "/proc/1/cwd"},
      {"/loop", "loop"},
      {"/there", top},
      {"/device", "/dev/null"},
  };
  for (const auto& [name, target] : links) std::filesystem::create_symlink(target, root + name);
  const std::string before = outside();
  Proxy proxy = start();
  std::vector<std::string> paths = {"..",
                                    "../outside",
                                    "/..",
                                    "/../outside",
                                    "/../../../../../etc/passwd",
                                    "/etc/passwd",
                                    "//..//outside",
                                    "/./../outside",
                                    "/deep/../../outside",
                                    "/deep/er/../../../outside",
                                    "/../root/../outside",
                                    "/proc/self/root/etc/passwd",
                                    "/proc/self/fd/3",
                                    "/dev/null",
                                    "/dev/vda",
                                    top + "/outside",
                                    top,
                                    "/.",
                                    ".",
                                    "/",
                                    "outside",
                                    "/inside/../../outside"};
  for (const auto& [name, target] : links)
    for (const char* rest : {"", "/", "/outside", "/../outside", "/up/outside", "/beside/outside", "/beside/link",
                             "/..", "/root/inside", "/etc/passwd"})
      paths.push_back(name + std::string(rest));
  for (const std::string& path : paths) {
    try_path(proxy, path);
    ASSERT_EQ(outside(), before) << path;
    // The rights that were taken away: the next call needs them, too.
    ASSERT_EQ(chmod(root.c_str(), 0755), 0);
    for (const auto& [name, target] : links) {
      std::error_code ignored;
      if (!std::filesystem::is_symlink(root + name)) {
        std::filesystem::remove_all(root + name, ignored);
        std::filesystem::create_directories(std::filesystem::path(root + name).parent_path(), ignored);
        std::filesystem::create_symlink(target, root + name, ignored);
      }
    }
  }
  ASSERT_EQ(chmod(root.c_str(), 0755), 0);
  proxy.expect_sane();
}

TEST_F(EscapeTest, LinksThatChangeMeanwhile) {
  std::filesystem::create_directory(root + "/honest");
  std::ofstream(root + "/honest/outside") << "inside";
  std::filesystem::create_directory_symlink("..", root + "/other");
  std::filesystem::create_directory_symlink(top + "/beside", root + "/third");
  std::filesystem::create_directories(root + "/walks/a/b");
  const std::string before = outside();
  Proxy proxy = start();
  std::atomic<bool> over{false};
  std::thread renamer([&] {
    while (!over) {
      renameat2(AT_FDCWD, (root + "/honest").c_str(), AT_FDCWD, (root + "/other").c_str(), RENAME_EXCHANGE);
      renameat2(AT_FDCWD, (root + "/honest").c_str(), AT_FDCWD, (root + "/third").c_str(), RENAME_EXCHANGE);
    }
  });
  // The directory at which ".." starts leaves the root.
  std::thread mover([&] {
    while (!over) {
      rename((root + "/walks/a/b").c_str(), (root + "/b").c_str());
      rename((root + "/b").c_str(), (root + "/walks/a/b").c_str());
    }
  });
  for (int i = 0; i < 3000; ++i) {
    for (const char* path : {"/honest/outside", "/walks/a/b/../../../../outside"}) {
      const int64_t handle = proxy.call(Op::open, 0, {O_RDWR}, path).result;
      if (handle > 0) {
        const Reply read = proxy.call(Op::read, static_cast<uint32_t>(handle), {100, 0});
        ASSERT_EQ(read.first, "inside");
        (void)proxy.call(Op::close, static_cast<uint32_t>(handle), {});
      }
      check(proxy.call(Op::statx, 0, {1}, path), path);
    }
    (void)proxy.call(Op::mkdir, 0, {0700}, "/honest/made");
    (void)proxy.call(Op::unlink, 0, {1}, "/honest/made");
    (void)proxy.call(Op::unlink, 0, {0}, "/honest/link");
    if (i % 100 == 0) {
      ASSERT_TRUE(outside().starts_with(before.substr(0, before.find(' '))));
    }
  }
  over = true;
  renamer.join();
  mover.join();
  EXPECT_EQ(outside(), before);
  proxy.expect_sane();
}

TEST_F(EscapeTest, NothingButFilesAndDirectoriesIsThere) {
  ASSERT_EQ(mkfifo((root + "/fifo").c_str(), 0666), 0);
  ASSERT_EQ(mknod((root + "/zero").c_str(), S_IFCHR | 0666, makedev(1, 5)), 0);
  ASSERT_EQ(mknod((root + "/disk").c_str(), S_IFBLK | 0666, makedev(254, 0)), 0);
  const UniqueFd listening(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  strncpy(name.sun_path, (root + "/socket").c_str(), sizeof name.sun_path - 1);
  ASSERT_EQ(bind(listening.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  Proxy proxy = start();
  for (const char* path : {"/fifo", "/zero", "/disk", "/socket"}) {
    for (const int64_t flags : {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_NONBLOCK}) {
      const auto reply = proxy.answer(proxy.send(Op::open, 0, {flags}, path), 2000);
      ASSERT_TRUE(reply) << path << " holds it up";
      EXPECT_LT(reply->result, 0) << path;
    }
    const auto reply = proxy.answer(proxy.send(Op::truncate, 0, {0}, path), 2000);
    ASSERT_TRUE(reply) << path << " holds it up";
    EXPECT_LT(reply->result, 0) << path;
  }
  proxy.expect_sane();
}

TEST_F(EscapeTest, MountsStayOutside) {
  for (const char* name : {"/before", "/after"}) std::filesystem::create_directory(root + name);
  ASSERT_EQ(mount((top + "/beside").c_str(), (root + "/before").c_str(), nullptr, MS_BIND, nullptr), 0);
  Proxy proxy = start();
  proxy.expect_sane();
  ASSERT_EQ(mount((top + "/beside").c_str(), (root + "/after").c_str(), nullptr, MS_BIND, nullptr), 0);
  const std::string before = outside();
  for (const char* name : {"/before", "/after"}) {
    EXPECT_EQ(proxy.call(Op::statx, 0, {1}, name + std::string("/outside")).result, -ENOENT) << name;
    EXPECT_LT(proxy.call(Op::link, 0, {}, name + std::string("/outside"), "/stolen").result, 0) << name;
    try_path(proxy, name + std::string("/../../outside"));
  }
  EXPECT_EQ(outside(), before);
}

}  // namespace
}  // namespace oboro::proxy
