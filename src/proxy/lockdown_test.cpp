// What an attacker has who took the proxy over: tried in processes that are locked in as the proxy is.

#include "proxy/lockdown.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <memory>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "base/landlock.h"
#include "proxy/files.h"

namespace oboro::proxy {
namespace {

constexpr int kNotConfined = 97, kNotSealed = 98;

class ProxyLockdown : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "this host: as root only: what is taken away has to be there before";
    char path[] = "/tmp/oboro-lockdown-test-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    root = path;
    const int status = confined([] { return 0; });
    if (WEXITSTATUS(status) == kNotConfined) GTEST_SKIP() << "this host: lets nobody make namespaces";
  }
  void TearDown() override {
    if (!root.empty()) (void)!system(("rm -rf " + root).c_str());
  }

  // The wait status of a process that runs the action after the first step, or after both. It ends with the action's
  // result.
  template <typename Action>
  int status_of(bool sealed, Action action) const {
    const pid_t child = fork();
    if (child == 0) {
      auto inside = confine(UniqueFd(open(root.c_str(), O_PATH | O_DIRECTORY)), wanted);
      if (!inside) {
        fprintf(stderr, "%s\n", inside.error().message.c_str());
        _exit(kNotConfined);
      }
      if (sealed && !seal(wanted)) _exit(kNotSealed);
      _exit(action());
    }
    int status = -1;
    waitpid(child, &status, 0);
    return status;
  }
  template <typename Action>
  int confined(Action action) const {
    return status_of(false, action);
  }
  template <typename Action>
  int sealed(Action action) const {
    return status_of(true, action);
  }
  // Whether the kernel ended the process because of this call.
  template <typename Action>
  bool kills(Action action) const {
    const int status = sealed([&] {
      action();
      return 0;
    });
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
  }

  std::string root;
  Confinement wanted{};
};

TEST_F(ProxyLockdown, TheListIsShort) {
  const auto without = allowed_calls(false), with = allowed_calls(true);
  EXPECT_LE(with.size(), 60u);
  EXPECT_LT(without.size(), with.size());
  for (const int call : {SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(execve), SCMP_SYS(clone), SCMP_SYS(clone3),
                         SCMP_SYS(prctl), SCMP_SYS(mprotect), SCMP_SYS(ptrace), SCMP_SYS(io_uring_setup)})
    EXPECT_FALSE(std::count(with.begin(), with.end(), call)) << call;
  EXPECT_FALSE(std::count(without.begin(), without.end(), SCMP_SYS(socket)));
  for (const int call : with)
    printf(
        "%s ",
        std::unique_ptr<char, decltype(&free)>(seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call), free).get());
  printf("(%zu; %zu without a network)\n", with.size(), without.size());
}

TEST_F(ProxyLockdown, LeavesWhatFilesNeed) {
  const int status = sealed([] {
    Handles handles(10);
    Files files(
        UniqueFd(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, "/", std::array<uint64_t, 3>{O_PATH}.data(), 24))),
        handles);
    Frame call;
    call.op = Op::open;
    call.first = bytes_of("/file");
    call.arguments = {O_RDWR | O_CREAT, 0600};
    const std::vector<char> large(50 << 20, 'x');
    return files.execute(call).result > 0 && large.back() == 'x' ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
  struct stat made {};
  ASSERT_EQ(stat((root + "/file").c_str(), &made), 0);
  EXPECT_EQ(made.st_uid, 0u) << "as the root directory, whoever the proxy is";
}

TEST_F(ProxyLockdown, FilterTakesTheRest) {
  wanted.network = true;
  EXPECT_TRUE(kills([] { (void)open("/etc/passwd", O_RDONLY); }));
  EXPECT_TRUE(kills([] { ptrace(PTRACE_ATTACH, 1, nullptr, nullptr); }));
  EXPECT_TRUE(kills([] { (void)execl("/bin/true", "true", nullptr); }));
  EXPECT_TRUE(kills([] { (void)fork(); }));
  EXPECT_TRUE(kills([] { (void)syscall(SYS_clone3, nullptr, 0); }));
  EXPECT_TRUE(kills([] { std::thread([] {}).join(); })) << "no more threads, either";
  EXPECT_TRUE(kills([] { mount("none", "/", "tmpfs", 0, nullptr); }));
  EXPECT_TRUE(kills([] { unshare(CLONE_NEWUSER); }));
  EXPECT_TRUE(kills([] { (void)chroot("/"); }));
  EXPECT_TRUE(kills([] { kill(1, 0); }));
  EXPECT_TRUE(kills([] { syscall(SYS_pidfd_open, 1, 0); }));
  EXPECT_TRUE(kills([] { syscall(SYS_io_uring_setup, 1, nullptr); }));
  EXPECT_TRUE(kills([] { syscall(SYS_bpf, 0, nullptr, 0); }));
  EXPECT_TRUE(kills([] { syscall(SYS_userfaultfd, 0); }));
  EXPECT_TRUE(kills([] { syscall(SYS_add_key, "user", "x", "y", 1, -3); }));
  EXPECT_TRUE(kills([] { syscall(SYS_process_vm_readv, 1, nullptr, 0, nullptr, 0, 0); }));
  EXPECT_TRUE(kills([] { syscall(SYS_name_to_handle_at, AT_FDCWD, "/", nullptr, nullptr, 0); }));
  EXPECT_TRUE(kills([] { syscall(SYS_mknodat, AT_FDCWD, "/x", S_IFCHR | 0666, makedev(1, 5)); }));
  EXPECT_TRUE(kills([] { syscall(SYS_memfd_create, "x", 0); }));
  EXPECT_TRUE(kills([] { syscall(SYS_prctl, PR_SET_DUMPABLE, 1); }));
}

// A host's kernel without 32-bit calls ends every process that makes one. So it is asked first, without the filter.
TEST_F(ProxyLockdown, FilterTakesThe32BitCalls) {
  const auto getpid_32 = [] {
    int result = 20;
    asm volatile("int $0x80" : "+a"(result) : : "memory");
    return 0;
  };
  const int without = confined(getpid_32);
  if (WIFSIGNALED(without)) {
    EXPECT_EQ(WTERMSIG(without), SIGSEGV);
    const int with = sealed(getpid_32);
    EXPECT_TRUE(WIFSIGNALED(with)) << with;
    GTEST_SKIP() << "this host: its kernel has no 32-bit calls that the filter could take";
  }
  ASSERT_EQ(without, 0) << "a call that succeeds without the filter";
  EXPECT_TRUE(kills(getpid_32));
}

TEST_F(ProxyLockdown, FilterWithoutANetworkHasNothingOfIt) {
  EXPECT_TRUE(kills([] { (void)socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }));
  EXPECT_TRUE(kills([] { (void)epoll_create1(EPOLL_CLOEXEC); })) << "there is nothing to watch";
  EXPECT_TRUE(kills([] { (void)epoll_ctl(3, EPOLL_CTL_DEL, 2, nullptr); }));
}

TEST_F(ProxyLockdown, FilterLooksAtArguments) {
  wanted.network = true;
  constexpr int kType = SOCK_CLOEXEC | SOCK_NONBLOCK;
  for (const int family : {AF_UNIX, AF_PACKET, AF_NETLINK, AF_VSOCK, AF_ALG})
    EXPECT_TRUE(kills([=] { (void)socket(family, SOCK_STREAM | kType, 0); })) << family;
  EXPECT_TRUE(kills([] { (void)socket(AF_INET, SOCK_RAW | kType, IPPROTO_ICMP); }));
  EXPECT_TRUE(kills([] { (void)socket(AF_INET, SOCK_DGRAM | kType, IPPROTO_ICMP); }));
  EXPECT_TRUE(kills([] { (void)socket(AF_INET, SOCK_STREAM | kType, IPPROTO_SCTP); }));
  EXPECT_TRUE(kills([] { (void)socket(AF_INET, SOCK_STREAM, 0); })) << "one that blocks";
  EXPECT_TRUE(kills([] { (void)mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }));
  EXPECT_TRUE(kills([] { (void)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0); }));
  EXPECT_TRUE(kills([] { (void)mprotect(nullptr, 0, PROT_EXEC); }));
  EXPECT_TRUE(kills([] { (void)ioctl(2, TIOCSTI, "x"); }));
  EXPECT_TRUE(kills([] { (void)fcntl(2, F_DUPFD, 0); }));
  EXPECT_TRUE(kills([] { (void)fcntl(2, F_SETOWN, 1); }));
  EXPECT_TRUE(kills([] { (void)sendto(2, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, nullptr, 0); }));
  EXPECT_TRUE(kills([] { (void)setsockopt(2, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2); }));
  EXPECT_TRUE(kills([] { (void)setsockopt(2, IPPROTO_TCP, TCP_NODELAY + 100, "lo", 2); }));
  EXPECT_TRUE(kills([] { (void)epoll_ctl(3, 77, 2, nullptr); }));
  EXPECT_TRUE(kills([] { (void)epoll_create1(0); })) << "one that a program would inherit";
  EXPECT_TRUE(kills([] { (void)syscall(SYS_futex, nullptr, 6 /* FUTEX_LOCK_PI */, 0, nullptr, nullptr, 0); }));
  EXPECT_EQ(sealed([] {
              for (const int family : {AF_INET, AF_INET6})
                for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
                  const UniqueFd fd(socket(family, type | kType, 0));
                  const int one = 1;
                  if (!fd && errno != EAFNOSUPPORT) return 1;
                  if (fd && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0) return 2;
                }
              return 0;
            }),
            0);
  wanted.network = false;
  EXPECT_TRUE(kills([] { (void)socket(AF_INET, SOCK_STREAM | kType, 0); }));
}

TEST_F(ProxyLockdown, EveryThreadIsUnderIt) {
  const pid_t child = fork();
  if (child == 0) {
    auto inside = confine(UniqueFd(open(root.c_str(), O_PATH | O_DIRECTORY)), wanted);
    if (!inside) _exit(kNotConfined);
    std::atomic<int> stage{0};
    std::thread other([&] {
      stage = 1;
      stage.notify_all();
      stage.wait(1);
      (void)open("/etc/passwd", O_RDONLY);
      _exit(0);
    });
    stage.wait(0);
    if (!seal(wanted)) _exit(kNotSealed);
    stage = 2;
    stage.notify_all();
    other.join();
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << status;
}

// Without the filter: what would be left if the filter had a hole.
TEST_F(ProxyLockdown, TheHostIsNotThere) {
  const std::string outside = root + ".outside";
  const UniqueFd canary(open(outside.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
  EXPECT_EQ(confined([&] {
              const auto missing = [](const char* path) { return open(path, O_RDONLY) < 0 && errno == ENOENT; };
              for (const char* path : {"/etc/passwd", "/proc/self/status", "/dev/null", "/sys", "../etc/passwd",
                                       "../../../../etc/passwd", outside.c_str()})
                if (!missing(path)) return 1;
              // The classic way out of a chroot.
              if (mkdir("/inner", 0755) != 0) return 2;
              if (chroot("/inner") == 0) return 3;
              if (mount("none", "/inner", "tmpfs", 0, nullptr) == 0 || umount2("/", MNT_DETACH) == 0) return 4;
              if (mknod("/device", S_IFCHR | 0666, makedev(1, 5)) == 0) return 5;
              if (mkfifo("/fifo", 0666) == 0) return 6;
              return 0;
            }),
            0);
  unlink(outside.c_str());
}

TEST_F(ProxyLockdown, NobodyElseIsThere) {
  const pid_t self = getpid();
  EXPECT_EQ(confined([&] {
              if (getpid() != 1) return 1;
              if (kill(self, 0) == 0 || errno != ESRCH) return 2;
              if (ptrace(PTRACE_ATTACH, self, nullptr, nullptr) == 0) return 3;
              if (prctl(PR_GET_DUMPABLE) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 4;
              return 0;
            }),
            0);
}

TEST_F(ProxyLockdown, NoPrivilegeIsLeft) {
  for (const uid_t owner : {0, 12345}) {
    ASSERT_EQ(chown(root.c_str(), owner, owner), 0);
    EXPECT_EQ(
        confined([&] {
          __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
          __user_cap_data_struct data[2] = {};
          if (syscall(SYS_capget, &header, data) != 0) return 1;
          for (const auto& part : data)
            if (part.effective || part.permitted || part.inheritable) return 2;
          if (owner && getuid() != owner) return 3;
          if (getuid() == 0) fprintf(stderr, "user 0 without a capability: no idmapped mounts in /tmp\n");
          if (getuid() != 0 && (setuid(0) == 0 || setgid(0) == 0)) return 4;
          if (getgroups(0, nullptr) != 0) return 5;
          rlimit limit{};
          if (getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_max != 0) return 6;
          if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max != 1024 + 64) return 7;
          if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_max != 512 << 20) return 8;
          if (mmap(nullptr, size_t{1} << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
            return 9;
          return 0;
        }),
        0);
  }
}

TEST_F(ProxyLockdown, NothingIsExecuted) {
  (void)!system(("cp /bin/true " + root + "/true && chmod 4755 " + root + "/true").c_str());
  EXPECT_EQ(confined([] {
              execl("/true", "true", nullptr);
              return errno == EACCES ? 0 : 1;
            }),
            0);
}

TEST_F(ProxyLockdown, NetworkNoneHasNone) {
  EXPECT_EQ(confined([] {
              const UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
              sockaddr_in in{};
              in.sin_family = AF_INET;
              in.sin_port = htons(22);
              in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
              if (connect(fd.get(), reinterpret_cast<sockaddr*>(&in), sizeof in) == 0) return 1;
              if (errno != ENETUNREACH && errno != EACCES) return 2;
              if (if_nameindex() && if_nameindex()[1].if_index != 0) return 3;
              return 0;
            }),
            0);
}

TEST_F(ProxyLockdown, PortsThatItMayHave) {
  // The test only tries to bind, and in a network namespace of its own.
  if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "this host: no network namespace";
  const long landlock_version = landlock::version();
  wanted.network = true;
  const auto bind_to = [](uint16_t port) {
    return [port] {
      const UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
      sockaddr_in in{};
      in.sin_family = AF_INET;
      in.sin_port = htons(port);
      return bind(fd.get(), reinterpret_cast<sockaddr*>(&in), sizeof in) == 0 ? 0 : errno;
    };
  };
  wanted.listen = {5140};
  EXPECT_EQ(confined(bind_to(5140)), 0);
  EXPECT_NE(confined(bind_to(514)), 0);
  if (landlock_version >= 4) {
    EXPECT_NE(confined(bind_to(5141)), 0) << "Landlock knows the ports";
  }
  wanted.listen = {514};
  EXPECT_EQ(confined(bind_to(514)), 0);
}

// The kernel's rule knows no UDP ports, and no hosts at all. These are for network_policy.h.
TEST_F(ProxyLockdown, TcpPortsThatItMayConnectTo) {
  if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "this host: no network namespace";
  if (landlock::version() < 4) GTEST_SKIP() << "this host: its Landlock knows no ports";
  wanted.network = true;
  // Nobody listens there: this is about the kernel's first check.
  const auto connect_to = [](uint16_t port) {
    return [port] {
      const UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
      sockaddr_in in{};
      in.sin_family = AF_INET;
      in.sin_port = htons(port);
      in.sin_addr.s_addr = htonl(0xcb007107);
      return connect(fd.get(), reinterpret_cast<sockaddr*>(&in), sizeof in) == 0 ? 0 : errno;
    };
  };
  const auto status = [](int error) { return error << 8; };
  EXPECT_EQ(confined(connect_to(443)), status(ENETUNREACH));
  wanted.connect = {443, 6514};
  wanted.listen = {443};
  EXPECT_EQ(confined(connect_to(443)), status(ENETUNREACH));
  EXPECT_EQ(confined(connect_to(6514)), status(ENETUNREACH));
  EXPECT_EQ(confined(connect_to(6513)), status(EACCES));
  EXPECT_EQ(confined(connect_to(0)), status(EACCES));
  wanted.connect.emplace();
  EXPECT_EQ(confined(connect_to(443)), status(EACCES));
}

TEST_F(ProxyLockdown, RefusesWhatIsNoDirectory) {
  const auto confined = confine(UniqueFd(open("/dev/null", O_RDONLY)), wanted);
  ASSERT_FALSE(confined);
  EXPECT_EQ(confined.error().code, Errc::invalid);
}

}  // namespace
}  // namespace oboro::proxy
