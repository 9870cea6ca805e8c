// Calls that a proxy cannot execute: the error that a program expects, and a line in the log.
#include <cerrno>
#include <cstring>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "hiding/service/hider_test.h"

namespace oboro::hiding {
namespace {

class UnsupportedTest : public HiderTest {
 protected:
  void SetUp() override {
    HiderTest::SetUp();
    guest->reporter.keeps = true;
    ASSERT_EQ(open_file("/var/secret/a"), 0);
    ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_STREAM, 0}), 1);
    path = guest->put("/var/secret/a", 300);
    empty = guest->put("", 400);
    other = guest->put("/tmp/x", 500);
  }
  // How often the log says that this is not possible.
  size_t refused(std::string_view what) const {
    return guest->reporter.count(event::Kind::hidden, std::string(what) + " is not possible on what is hidden");
  }
  uint64_t path = 0, empty = 0, other = 0;
};

constexpr uint64_t kNoFile = 77, kEmptyPath = AT_EMPTY_PATH;

TEST_P(UnsupportedTest, EachFailsAsAProgramExpectsAndIsReported) {
  const struct {
    uint64_t number;
    std::array<uint64_t, 6> arguments;
    int error;
    const char* what;
  } kCalls[] = {
      {sys::mmap, {0, 4096, PROT_READ, MAP_SHARED, 0, 0}, ENODEV, "mmap"},
      {sys::copy_file_range, {kNoFile, 0, 0, 0, 10, 0}, EXDEV, "copy_file_range"},
      {sys::splice, {0, 0, kNoFile, 0, 10, 0}, EINVAL, "splice"},
      {sys::tee, {kNoFile, 1, 10, 0}, EINVAL, "tee"},
      {sys::vmsplice, {0, path, 1, 0}, EBADF, "vmsplice"},
      {sys::fgetxattr, {0, other, 0, 0}, EOPNOTSUPP, "fgetxattr"},
      {sys::getxattr, {path, other, 0, 0}, EOPNOTSUPP, "getxattr"},
      {464, {kCwd, path, 0, other, 0, 0}, EOPNOTSUPP, "getxattrat"},
      {464, {0, empty, kEmptyPath, other, 0, 0}, EOPNOTSUPP, "getxattrat"},
      {468, {kCwd, path, 0, 0, 0}, EOPNOTSUPP, "file_getattr"},
      {sys::name_to_handle_at, {0, empty, other, other, kEmptyPath}, EOPNOTSUPP, "name_to_handle_at"},
      {sys::open_by_handle_at, {0, other, 0}, EOPNOTSUPP, "open_by_handle_at"},
      {sys::inotify_add_watch, {kNoFile, path, 2}, ENOSPC, "inotify_add_watch"},
      {sys::fanotify_mark, {kNoFile, 1, 2, kCwd, path}, ENOSPC, "fanotify_mark"},
      {sys::fanotify_mark, {kNoFile, 1, 2, 0, 0}, ENOSPC, "fanotify_mark"},
      {451, {0, 0, 0, 0}, EOPNOTSUPP, "cachestat"},
      {sys::chroot, {path}, EPERM, "chroot"},
      {sys::mount, {other, path, 0, 0, 0}, EPERM, "mount"},
      {sys::mount, {path, other, 0, 0, 0}, EPERM, "mount"},
      {sys::umount2, {path, 0}, EPERM, "umount2"},
      {sys::open_tree, {0, empty, kEmptyPath}, EPERM, "open_tree"},
      {sys::move_mount, {kNoFile, empty, kCwd, path, 0}, EPERM, "move_mount"},
      {sys::acct, {path}, EPERM, "acct"},
      {sys::swapon, {path, 0}, EPERM, "swapon"},
      {sys::execve, {path, 0, 0}, EACCES, "execve"},
      {sys::execveat, {0, empty, 0, 0, kEmptyPath}, EACCES, "execve"},
      {sys::io_uring_setup, {8, other}, ENOSYS, "io_uring"},
      {sys::io_uring_enter, {kNoFile, 1, 0, 0, 0, 0}, EOPNOTSUPP, "io_uring"},
      {sys::rename, {path, other}, EXDEV, "rename to or from elsewhere"},
      {sys::link, {other, path}, EXDEV, "link to or from elsewhere"},
      {sys::ioctl, {0, 0x40049409 /* FICLONE */, kNoFile}, ENOTTY, "ioctl 0x40049409"},
      {sys::ioctl, {1, 0x8912 /* SIOCGIFCONF */, other}, ENOTTY, "ioctl 0x8912"},
      {sys::fcntl, {0, 1024 /* F_SETLEASE */, 0}, EINVAL, "fcntl 1024"},
      {sys::setsockopt,
       {1, SOL_SOCKET, 25 /* SO_BINDTODEVICE */, other, 4},
       ENOPROTOOPT,
       "socket option 25 of level 1"},
      {sys::sendto, {1, path, 1, 0x20000000 /* MSG_FASTOPEN */, 0, 0}, EOPNOTSUPP, "TCP fast open"},
  };
  for (const auto& call : kCalls) {
    guest->reporter.kept.clear();
    EXPECT_EQ(guest->answer(call.number, call.arguments), -call.error) << call.what;
    EXPECT_EQ(refused(call.what), 1u) << call.what;
  }
}

TEST_P(UnsupportedTest, OnWhatIsNotHiddenTheyAreTheKernels) {
  const struct {
    uint64_t number;
    std::array<uint64_t, 6> arguments;
  } kCalls[] = {
      {sys::splice, {kNoFile, 0, kNoFile, 0, 10, 0}},
      {sys::getxattr, {other, other, 0, 0}},
      {sys::getxattr, {1, other, 0, 0}},
      {464, {kCwd, other, 0, other, 0, 0}},
      {sys::fanotify_mark, {kNoFile, 1, 2, kCwd, 0}},
      {sys::mount, {other, other, 0, 0, 0}},
      {sys::chroot, {other}},
      {sys::execveat, {kNoFile, empty, 0, 0, kEmptyPath}},
  };
  guest->reporter.kept.clear();
  for (const auto& call : kCalls) EXPECT_EQ(guest->call(call.number, call.arguments), End::native) << call.number;
  for (const event::Event& one : guest->reporter.kept) ADD_FAILURE() << event::detail(one) << " " << one.object.path;
}

// The guest's kernel is in another directory: it would take these paths for others.
TEST_P(UnsupportedTest, PathsOutOfAHiddenDirectoryAreNotTheKernels) {
  ASSERT_EQ(guest->answer(sys::chdir, {guest->put("/var/secret", 600)}), 0);
  const uint64_t out = guest->put("../../tmp", 700);
  EXPECT_EQ(guest->answer(sys::chroot, {out}), -ENOENT);
  EXPECT_EQ(guest->answer(sys::umount2, {out, 0}), -ENOENT);
  EXPECT_EQ(guest->answer(sys::execve, {out, 0, 0}), -ENOENT);
}

TEST_P(UnsupportedTest, WhatIsAskedAgainAndAgainIsNotReportedEachTime) {
  guest->reporter.kept.clear();
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(guest->answer(sys::getxattr, {path, other, 0, 0}), -EOPNOTSUPP);
  EXPECT_EQ(refused("getxattr"), 8u + 6u) << "eight times, and at 16, 32, ..., 512";
}

TEST_P(UnsupportedTest, ASocketOfTheGuestsGetsNoNameThatIsHidden) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "/var/secret/socket");
  std::memcpy(guest->user.data(), &address, sizeof address);
  EXPECT_EQ(guest->answer(sys::bind, {kNoFile, FakeDispatch::kUser, sizeof address}), -EACCES);
  EXPECT_EQ(guest->answer(sys::connect, {kNoFile, FakeDispatch::kUser, sizeof address}), -EACCES);
  EXPECT_EQ(refused("bind"), 1u);
  std::strcpy(address.sun_path, "/tmp/socket");
  std::memcpy(guest->user.data(), &address, sizeof address);
  EXPECT_EQ(guest->call(sys::bind, {kNoFile, FakeDispatch::kUser, sizeof address}), End::native);
  EXPECT_EQ(guest->call(sys::bind, {kNoFile, 0x1000, sizeof address}), End::native);
}

// The kernel itself finds no file there.
TEST_P(UnsupportedTest, PassingOnAHiddenDescriptorIsReported) {
  struct Header {  // struct cmsghdr
    size_t cmsg_len = 0;
    int cmsg_level = 0, cmsg_type = 0;
  };
  struct {
    msghdr message{};
    unsigned length = 0, padding = 0;
    Header credentials{}, rights{};
    std::array<int, 3> numbers{};
  } sent;
  constexpr uint64_t kControl = FakeDispatch::kUser + offsetof(decltype(sent), credentials);
  sent.message.msg_control = reinterpret_cast<void*>(kControl);  // NOLINT(performance-no-int-to-ptr): the guest's
  sent.message.msg_controllen = sizeof sent.credentials + sizeof sent.rights + sizeof sent.numbers;
  sent.credentials = {sizeof sent.credentials, SOL_SOCKET, SCM_CREDENTIALS};
  sent.rights = {sizeof sent.rights + sizeof sent.numbers, SOL_SOCKET, SCM_RIGHTS};
  const auto sends = [&](std::array<int, 3> numbers, size_t times) {
    sent.numbers = numbers;
    std::memcpy(guest->user.data(), &sent, sizeof sent);
    guest->reporter.kept.clear();
    EXPECT_EQ(guest->call(sys::sendmsg, {kNoFile, FakeDispatch::kUser, 0}), End::native);
    EXPECT_EQ(refused("passing on a descriptor"), times);
    EXPECT_EQ(guest->call(sys::sendmmsg, {kNoFile, FakeDispatch::kUser, 1, 0}), End::native);
    EXPECT_EQ(refused("passing on a descriptor"), 2 * times);
  };
  sends({kNoFile, kNoFile + 1, -1}, 0);
  sends({kNoFile, 0, kNoFile}, 1);
  sent.rights.cmsg_type = SCM_CREDENTIALS;
  sends({0, 0, 0}, 0);
  sent.rights.cmsg_type = SCM_RIGHTS;
  sent.credentials.cmsg_len = 0;  // what the kernel refuses whole
  sends({0, 0, 0}, 0);
}

TEST_P(UnsupportedTest, ALinkInProcIsOneAndNotTheFile) {
  const uint64_t link = guest->put("/proc/self/fd/0", 600);
  constexpr uint64_t kOut = FakeDispatch::kUser + 700;
  EXPECT_EQ(guest->answer(sys::readlink, {link, kOut, 100}), 13);
  EXPECT_EQ(guest->text(700, 13), "/var/secret/a");
  EXPECT_EQ(guest->answer(sys::readlink, {guest->put("/proc/100/fd/0", 600), kOut, 4}), 4);
  EXPECT_EQ(guest->answer(sys::chmod, {guest->put("/dev/fd/0", 600), 0640}), 0) << "it is followed";
  EXPECT_EQ(guest->call(sys::unlink, {link}), End::native);
  EXPECT_EQ(guest->call(sys::rename, {link, other}), End::native);
  EXPECT_EQ(guest->answer(sys::access, {path, 0}), 0) << "it is still there";
}

INSTANTIATE_TEST_SUITE_P(Waits, UnsupportedTest, testing::Values(Wait::park), wait_name);

}  // namespace
}  // namespace oboro::hiding
