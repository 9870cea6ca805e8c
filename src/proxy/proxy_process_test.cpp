// oboro-proxy as a process: how it starts, what it has, how it ends.

#include <linux/if_tun.h>
#include <set>

#include "proxy/process_test.h"

namespace oboro::proxy {
namespace {

using ProcessTest = ProxyTest;

TEST_F(ProcessTest, Serves) {
  Proxy proxy = start();
  proxy.expect_sane();
  EXPECT_EQ(proxy.call(Op::socket, 0, {2, 1, 0}).result, -EACCES);
  proxy.life.reset();
  EXPECT_TRUE(proxy.ends(20'000));
  EXPECT_EQ(proxy.status, 0);
  EXPECT_EQ(proxy.errors(), "");
}

TEST_F(ProcessTest, FilesAreTheirOwnersOnTheHost) {
  for (const uid_t owner : {0, 12345}) {
    ASSERT_EQ(chown(root.c_str(), owner, owner), 0);
    ASSERT_EQ(chown((root + "/inside").c_str(), owner, owner), 0);
    Proxy proxy = start();
    const int64_t file = proxy.call(Op::open, 0, {O_RDWR | O_CREAT | O_EXCL, 0640}, "/new").result;
    ASSERT_GT(file, 0) << strerror(static_cast<int>(-file));
    struct stat status {};
    ASSERT_EQ(stat((root + "/new").c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, owner);
    EXPECT_EQ(status.st_gid, owner);
    EXPECT_EQ(status.st_mode & 07777, 0640u);
    EXPECT_GT(proxy.call(Op::open, 0, {O_RDWR}, "/inside").result, 0);
    EXPECT_EQ(proxy.call(Op::chown, 0, {33, 33, 1}, "/new").result, 0);
    const Reply told = proxy.call(Op::statx, 0, {1}, "/new");
    struct statx their {};
    ASSERT_EQ(told.first.size(), sizeof their);
    std::memcpy(&their, told.first.data(), sizeof their);
    EXPECT_EQ(their.stx_uid, 33u);
    EXPECT_NE(proxy.status_of("Uid"), 0) << "it should be nobody, or the owner";
    EXPECT_EQ(proxy.call(Op::unlink, 0, {}, "/new").result, 0);
  }
}

TEST_F(ProcessTest, StartedByAnybody) {
  ASSERT_EQ(chown(root.c_str(), 12345, 12345), 0);
  {
    Proxy proxy = start({{"--network", "none"}, 12345});
    if (proxy.ends(300)) {
      if (WEXITSTATUS(proxy.status) == 99) GTEST_SKIP() << "this host: the program's directory is not open to others";
      const std::string said = proxy.errors();
      if (said.find("user namespaces") != std::string::npos) GTEST_SKIP() << "this host: " << said;
      FAIL() << proxy.status << " " << said;
    }
    proxy.expect_sane();
    EXPECT_EQ(proxy.status_of("Uid"), 12345);
    EXPECT_EQ(proxy.status_of("CapEff", 16), 0);
  }
  Proxy stranger = start({{"--network", "none"}, 54321});
  EXPECT_TRUE(stranger.ends(1000));
  EXPECT_EQ(WEXITSTATUS(stranger.status), 1);
  EXPECT_NE(stranger.errors().find("user 12345"), std::string::npos);
}

TEST_F(ProcessTest, WrongWordsAreTold) {
  const std::pair<std::vector<std::string>, const char*> wrong[] = {
      {{}, "--network is missing"},
      {{"--network", "all"}, "none or remote"},
      {{"--network"}, "has no value"},
      {{"--network", "none", "--listen", "80"}, "remote only"},
      {{"--network", "remote", "--listen", "0"}, "no port"},
      {{"--network", "remote", "--listen", "65536"}, "no port"},
      {{"--network", "none", "--to", "none"}, "--to goes with --network remote only"},
      {{"--network", "remote", "--to", "10.0.0.0/8:1"}, "--to \"10.0.0.0/8:1\": it does not end in /tcp or /udp"},
      {{"--network", "remote", "--to", "log.example.org:1/tcp"}, "nobody resolves it here"},
      {{"--network", "none", "--max-memory", "1"}, "from 67108864"},
      {{"--network", "none", "--max-files", "many"}, "from 1 to"},
      {{"--network", "none", "--max-disk", "1"}, "from 1048576"},
      {{"--network", "none", "--max-files", "-1"}, "from 1 to"},
      {{"--network", "none", "--disk", "full"}, "shared or own"},
      {{"--network", "none", "--root", "20"}, "given before"},
      {{"--network", "none", "--colour", "red"}, "no option --colour"},
  };
  for (const auto& [words, why] : wrong) {
    Proxy proxy = start({words});
    ASSERT_TRUE(proxy.ends(5000)) << why;
    EXPECT_EQ(WEXITSTATUS(proxy.status), 2) << why;
    const std::string said = proxy.errors();
    EXPECT_TRUE(said.starts_with("oboro-proxy: ")) << said;
    EXPECT_NE(said.find(why), std::string::npos) << said;
  }
}

TEST_F(ProcessTest, HelpTeaches) {
  FILE* out = popen(OBORO_PROXY_PROGRAM " --help", "r");
  ASSERT_TRUE(out);
  std::string text(10000, '\0');
  text.resize(fread(text.data(), 1, text.size(), out));
  EXPECT_EQ(pclose(out), 0);
  for (const char* word : {"--memory", "--for-proxy", "--for-tracer", "--root", "--life", "--network", "--to",
                           "--listen", "--max-memory", "--max-disk", "--max-files", "Exit status"})
    EXPECT_NE(text.find(word), std::string::npos) << word;
}

TEST_F(ProcessTest, KeepsNoOtherDescriptor) {
  const UniqueFd left_open(open("/etc/passwd", O_RDONLY));  // without O_CLOEXEC
  Proxy proxy = start();
  proxy.expect_sane();
  std::set<std::string> kinds;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(proxy.worker()) + "/fd"))
    kinds.insert(std::filesystem::read_symlink(entry.path()));
  for (const std::string& kind : kinds)
    EXPECT_TRUE(kind == "/" || kind.starts_with("pipe:") || kind.starts_with("anon_inode:[event") ||
                kind.starts_with("/memfd:oboro-channel"))
        << kind;
  EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(proxy.worker()) + "/root"), "/");
  EXPECT_EQ(proxy.status_of("NoNewPrivs"), 1);
  EXPECT_EQ(proxy.status_of("CapEff", 16), 0);
#ifndef OBORO_SANITIZED
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(proxy.worker()) + "/task")) {
    std::ifstream lines(thread.path() / "status");
    const std::string text{std::istreambuf_iterator<char>(lines), {}};
    EXPECT_NE(text.find("Seccomp:\t2"), std::string::npos) << thread.path();
  }
#endif
}

TEST_F(ProcessTest, ThisHostIsNotTheNetwork) {
  const UniqueFd listening(socket(AF_INET, SOCK_STREAM, 0));
  const sockaddr_in own = address("10.9.9.1", 5555);
  ASSERT_EQ(bind(listening.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), 0);
  ASSERT_EQ(listen(listening.get(), 5), 0);
  Proxy proxy = start({{"--network", "remote", "--listen", "514"}});
  const auto tcp = static_cast<uint32_t>(proxy.call(Op::socket, 0, {AF_INET, SOCK_STREAM, 0}).result);
  for (const char* host : {"10.9.9.1", "127.0.0.1", "0.0.0.0"})
    EXPECT_EQ(proxy.call(Op::connect, tcp, {}, raw(address(host, 5555))).result, -ENETUNREACH) << host;
  // Nor by addresses that it did not have, or did not name, when the proxy was started.
  ASSERT_TRUE(add_address("lo:2", "172.20.0.1"));
  for (const char* host : {"10.9.9.77", "172.20.0.1"}) {
    const auto udp = static_cast<uint32_t>(proxy.call(Op::socket, 0, {AF_INET, SOCK_DGRAM, 0}).result);
    EXPECT_EQ(proxy.call(Op::connect, tcp, {}, raw(address(host, 5555))).result, -ENETUNREACH) << host;
    EXPECT_EQ(proxy.call(Op::send, udp, {}, "x", raw(address(host, 5555))).result, -ENETUNREACH) << host;
  }
  EXPECT_EQ(proxy.call(Op::bind, tcp, {}, raw(address("0.0.0.0", 22))).result, -EACCES);
  EXPECT_EQ(proxy.call(Op::bind, tcp, {}, raw(address("0.0.0.0", 514))).result, 0);
  EXPECT_EQ(proxy.call(Op::listen, tcp, {5}).result, 0);
  const UniqueFd client(socket(AF_INET, SOCK_STREAM, 0));
  const sockaddr_in to = address("10.9.9.1", 514);
  EXPECT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  EXPECT_GT(proxy.call(Op::accept, tcp, {}).result, 0);
  EXPECT_EQ(proxy.status_of("CapEff", 16), 1 << 10) << "CAP_NET_BIND_SERVICE";
}

// Behind the filter of system calls, with the calls that count.
TEST_F(ProcessTest, ItsFilesTakeNoMoreThanTheyMay) {
  std::filesystem::permissions(root + "/deep", std::filesystem::perms::none);  // opened for the first count
  Proxy proxy = start({{"--network", "none", "--max-disk", "1048576"}});
  const auto file = static_cast<uint32_t>(proxy.call(Op::open, 0, {O_RDWR | O_CREAT, 0600}, "/a").result);
  const std::string data(200'000, 'x');
  int64_t all = 0;
  for (int64_t wrote = 0; (wrote = proxy.call(Op::write, file, {-1}, data).result) > 0;) all += wrote;
  EXPECT_GT(all, 900'000);
  EXPECT_LE(all, 1 << 20);
  EXPECT_EQ(proxy.call(Op::write, file, {-1}, "x").result, -ENOSPC);
  EXPECT_EQ(proxy.call(Op::write, file, {0}, data).result, 200'000) << "what is there";
  EXPECT_EQ(proxy.call(Op::fallocate, file, {0, 0, 1 << 21}).result, -ENOSPC);
  EXPECT_EQ(proxy.call(Op::open, 0, {O_RDWR | O_CREAT, 0600}, "/b").result, -ENOSPC);
  EXPECT_EQ(proxy.call(Op::truncate, file, {100'000}).result, 0);
  EXPECT_EQ(proxy.call(Op::mkdir, 0, {0700}, "/d").result, 0);
  EXPECT_EQ(proxy.call(Op::symlink, 0, {}, "a", "/d/l").result, 0);
  EXPECT_EQ(proxy.call(Op::rename, 0, {}, "/d/l", "/l").result, 0);
  EXPECT_EQ(proxy.call(Op::unlink, 0, {1}, "/d").result, 0);
  EXPECT_EQ(proxy.call(Op::statfs, 0, {}, "/").result, 0);
  EXPECT_EQ(proxy.call(Op::close, file, {}).result, 0);
  proxy.expect_sane();
}

TEST_F(ProcessTest, WithoutANetworkItHasOneOfItsOwn) {
  const auto network_of = [](pid_t process) {
    return std::filesystem::read_symlink("/proc/" + std::to_string(process) + "/ns/net").string();
  };
  Proxy none = start({{"--network", "none"}}), other = start({{"--network", "none"}}),
        remote = start({{"--network", "remote"}});
  for (Proxy* proxy : {&none, &other, &remote}) proxy->expect_sane();
  EXPECT_NE(network_of(none.worker()), network_of(getpid()));
  EXPECT_NE(network_of(none.worker()), network_of(other.worker()));
  EXPECT_EQ(network_of(remote.worker()), network_of(getpid()));
}

// The destinations of IPv4 datagrams that left by a device of this process.
std::vector<std::string> sent_by(int device) {
  std::vector<std::string> all;
  std::array<char, 2000> packet{};
  while (read(device, packet.data(), packet.size()) > 0) {
    constexpr size_t kProtocol = 9, kTo = 16;
    std::array<char, INET_ADDRSTRLEN> text{};
    if (packet[0] >> 4 == 4 && packet[kProtocol] == IPPROTO_UDP)
      all.emplace_back(inet_ntop(AF_INET, &packet[kTo], text.data(), text.size()));
  }
  return all;
}

TEST_F(ProcessTest, OnlyWhatItIsToldIsTheNetwork) {
  const UniqueFd device(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  ifreq request{};
  strcpy(request.ifr_name, "other0");
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (!device || ioctl(device.get(), TUNSETIFF, &request) != 0)
    GTEST_SKIP() << "this host: no network device can be made";
  ASSERT_TRUE(add_address("other0", "192.168.0.1"));
  const UniqueFd any(socket(AF_INET, SOCK_DGRAM, 0));
  const sockaddr_in mask = address("255.255.0.0", 0);
  std::memcpy(&request.ifr_netmask, &mask, sizeof mask);
  ASSERT_EQ(ioctl(any.get(), SIOCSIFNETMASK, &request), 0);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  ASSERT_EQ(ioctl(any.get(), SIOCSIFFLAGS, &request), 0);
  struct Row {
    std::vector<std::string> told;
    std::vector<std::string> reached;
  };
  for (const Row& row :
       {Row{{}, {"192.168.0.7", "192.168.0.8", "192.168.1.7"}},
        Row{{"--to", "192.168.0.7:53/udp", "--to", "192.168.1.0/24:53/udp"}, {"192.168.0.7", "192.168.1.7"}},
        Row{{"--to", "192.168.0.0/16:53/tcp"}, {}}, Row{{"--to", "none"}, {}}}) {
    std::vector<std::string> words = {"--network", "remote"};
    words.insert(words.end(), row.told.begin(), row.told.end());
    Proxy proxy = start({words});
    const auto udp = static_cast<uint32_t>(proxy.call(Op::socket, 0, {AF_INET, SOCK_DGRAM, 0}).result);
    std::vector<std::string> reached;
    // The last one is this host: to be refused whatever is said.
    for (const char* host : {"192.168.0.7", "192.168.0.8", "192.168.1.7", "192.168.0.1"}) {
      const int64_t sent = proxy.call(Op::send, udp, {}, "x", raw(address(host, 53))).result;
      if (sent == 1)
        reached.emplace_back(host);
      else
        EXPECT_EQ(sent, -ENETUNREACH) << host;
    }
    EXPECT_EQ(reached, row.reached);
    EXPECT_EQ(sent_by(device.get()), row.reached);
  }
}

class EndTest : public ProxyTest {
 protected:
  static void expect_gone(pid_t worker) {
    const auto gone = [worker] {
      std::ifstream status("/proc/" + std::to_string(worker) + "/status");
      const std::string text{std::istreambuf_iterator<char>(status), {}};
      return text.empty() || text.find("State:\tZ") != std::string::npos;  // nobody may be there to reap it
    };
    const auto end = in_ms(1000);
    while (!gone() && ms_until(end) > 0) usleep(1000);
    EXPECT_TRUE(gone()) << "the worker is still there";
  }
};

TEST_F(EndTest, WithItsLife) {
  for (const bool busy : {false, true}) {
    Proxy proxy = start({{"--network", "remote", "--listen", "5140"}});
    proxy.expect_sane();
    if (busy) {
      const auto socket = static_cast<uint32_t>(proxy.call(Op::socket, 0, {AF_INET, SOCK_STREAM, 0}).result);
      ASSERT_EQ(proxy.call(Op::bind, socket, {}, raw(address("0.0.0.0", 5140))).result, 0);
      ASSERT_EQ(proxy.call(Op::listen, socket, {5}).result, 0);
      for (int i = 0; i < 100; ++i) ASSERT_GT(proxy.send(Op::accept, socket, {0}), 0u);
      const auto file = static_cast<uint32_t>(proxy.call(Op::open, 0, {O_RDWR | O_CREAT, 0600}, "/big").result);
      ASSERT_EQ(proxy.call(Op::truncate, file, {kMaxData}).result, 0);
      // Nobody takes these answers.
      Frame read;
      read.op = Op::read;
      read.handle = file;
      read.arguments = {kMaxData, 0};
      for (read.id = 1000; read.id < 1200; ++read.id) ASSERT_TRUE(proxy.tracer->send(read));
      usleep(50000);
    }
    const pid_t worker = proxy.worker();
    ASSERT_GT(worker, 0);
    proxy.life.reset();
    EXPECT_TRUE(proxy.ends(20'000)) << busy;
    EXPECT_EQ(proxy.status, 0) << proxy.errors();
    expect_gone(worker);
  }
}

// A tracer that was taken over can make the wake-up of its side block.
TEST_F(EndTest, EvenWhenItIsStuck) {
  Proxy proxy = start();
  proxy.expect_sane();
  ASSERT_EQ(fcntl(proxy.tracer->wake_fd(), F_SETFL, 0), 0);
  const uint64_t full = UINT64_MAX - 1;
  ASSERT_EQ(write(proxy.tracer->wake_fd(), &full, sizeof full), 8);
  ASSERT_TRUE(proxy.tracer->may_sleep());
  const uint64_t id = proxy.send(Op::fsync, 1, {});
  usleep(50000);
  proxy.take();
  EXPECT_EQ(proxy.answers.count(id), 1u);
  EXPECT_GT(proxy.send(Op::fsync, 1, {}), 0u);
  usleep(50000);
  proxy.take();
  EXPECT_EQ(proxy.answers.size(), 1u) << "it should be stuck";
  proxy.life.reset();
  EXPECT_TRUE(proxy.ends(20'000));
}

TEST_F(EndTest, KilledWithCallsUnderWay) {
  for (const int signal : {SIGKILL, SIGTERM}) {
    Proxy proxy = start();
    const auto file = static_cast<uint32_t>(proxy.call(Op::open, 0, {O_RDWR | O_CREAT, 0600}, "/log").result);
    const pid_t worker = proxy.worker();
    uint64_t last = 0;
    for (int i = 0; i < 300; ++i) last = proxy.send(Op::write, file, {0}, std::string(8000, 'x'));
    ASSERT_EQ(kill(proxy.pid, signal), 0);
    ASSERT_TRUE(proxy.ends(20'000));
    EXPECT_TRUE(WIFSIGNALED(proxy.status));
    expect_gone(worker);
    (void)proxy.answer(last, 100);
    EXPECT_FALSE(proxy.tracer->broken()) << "what it had answered is whole";
    Proxy next = start();
    next.expect_sane();
  }
  Proxy proxy = start();
  proxy.expect_sane();
  ASSERT_EQ(kill(proxy.worker(), SIGKILL), 0);
  ASSERT_TRUE(proxy.ends(20'000)) << "nor is it there without its worker";
  EXPECT_TRUE(WIFSIGNALED(proxy.status) && WTERMSIG(proxy.status) == SIGKILL);
}

}  // namespace
}  // namespace oboro::proxy
