// The real oboro-proxy in tests. It has a root of its own, and the test is the tracer's end.
#pragma once

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/channel.h"

namespace oboro::proxy {

using Clock = std::chrono::steady_clock;
inline Clock::time_point in_ms(int ms) { return Clock::now() + std::chrono::milliseconds(ms); }
inline int ms_until(Clock::time_point end) {
  return static_cast<int>(
      std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count()));
}

template <typename T>
std::string_view raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

inline sockaddr_in address(const char* host, uint16_t port) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  inet_pton(AF_INET, host, &in.sin_addr);
  return in;
}

struct Reply {
  int64_t result = 0, extra = 0;
  std::string first, second;
};

struct ProxyStart {
  std::vector<std::string> words = {"--network", "none"};  // besides the descriptors
  uid_t user = 0;                                          // the user who starts it
};

// One proxy and its channel. It is killed when it goes out of scope.
class Proxy {
 public:
  Proxy(const std::string& root, const ProxyStart& how) {
    auto fds = Channel::create();
    int life_ends[2], error_ends[2];
    if (!fds || pipe2(life_ends, O_CLOEXEC) != 0 || pipe2(error_ends, O_CLOEXEC) != 0) abort();
    life = UniqueFd(life_ends[1]);
    errors_ = UniqueFd(error_ends[0]);
    const UniqueFd their_life(life_ends[0]), their_errors(error_ends[1]);
    const UniqueFd directory(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    std::vector<std::string> words = {"oboro-proxy", "--memory", "20", "--for-proxy", "21", "--for-tracer",
                                      "22",          "--root",   "23", "--life",      "24"};
    words.insert(words.end(), how.words.begin(), how.words.end());
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid = fork();
    if (pid == 0) {
      const int sources[] = {fds->memory.get(), fds->for_proxy.get(), fds->for_tracer.get(), directory.get(),
                             their_life.get()};
      int high[5];
      for (int i = 0; i < 5; ++i) high[i] = fcntl(sources[i], F_DUPFD, 100);
      for (int i = 0; i < 5; ++i) dup2(high[i], 20 + i);
      dup2(their_errors.get(), STDERR_FILENO);
      if (how.user && setresuid(how.user, how.user, how.user) != 0) _exit(98);
#ifdef OBORO_SANITIZED
      setenv("TSAN_OPTIONS", "atexit_sleep_ms=0", 0);  // a second, otherwise
#endif
      execv(OBORO_PROXY_PROGRAM, arguments.data());
      _exit(99);
    }
    memory_ =
        static_cast<std::byte*>(mmap(nullptr, 2 * kRing, PROT_READ | PROT_WRITE, MAP_SHARED, fds->memory.get(), 0));
    if (memory_ == MAP_FAILED) abort();
    for_proxy_ = UniqueFd(fcntl(fds->for_proxy.get(), F_DUPFD_CLOEXEC, 0));
    tracer = std::make_unique<Channel>(std::move(*Channel::attach(std::move(*fds), Channel::Side::tracer)));
  }
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;
  ~Proxy() {
    munmap(memory_, 2 * kRing);
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }

  uint64_t send(Op op, uint32_t handle, std::array<int64_t, 4> arguments, std::string_view first = {},
                std::string_view second = {}) {
    Frame frame;
    frame.op = op;
    frame.id = ++last_id;
    frame.handle = handle;
    frame.arguments = arguments;
    frame.first = bytes_of(first);
    frame.second = bytes_of(second);
    const auto end = in_ms(10000);
    while (!tracer->send(frame)) {
      if (tracer->broken() || ms_until(end) == 0 || ended()) return 0;
      take();
      wait_for_wake(10);
    }
    return frame.id;
  }
  // Takes the answers that have come, by id.
  void take() {
    while (const auto frame = tracer->receive(storage_))
      answers[frame->id] = {frame->result(), frame->arguments[1], std::string(frame->text()),
                            std::string(frame->second_text())};
  }
  std::optional<Reply> answer(uint64_t id, int timeout_ms = 10000) {
    const auto end = in_ms(timeout_ms);
    for (;;) {
      take();
      if (const auto found = answers.find(id); found != answers.end()) {
        Reply reply = std::move(found->second);
        answers.erase(found);
        return reply;
      }
      if (ms_until(end) == 0) return std::nullopt;
      if (tracer->may_sleep()) wait_for_wake(std::min(ms_until(end), 200));
      if (ended()) {
        take();
        if (!answers.count(id)) return std::nullopt;
      }
    }
  }
  Reply call(Op op, uint32_t handle, std::array<int64_t, 4> arguments, std::string_view first = {},
             std::string_view second = {}) {
    const auto reply = answer(send(op, handle, arguments, first, second));
    EXPECT_TRUE(reply) << "no answer; it says: " << (ended() ? errors() : "nothing");
    return reply.value_or(Reply{INT64_MIN, 0, {}, {}});
  }
  // The proxy answers as it should.
  void expect_sane() {
    const int64_t file = call(Op::open, 0, {O_RDWR | O_CREAT | O_TRUNC, 0600}, "/sane").result;
    ASSERT_GT(file, 0) << strerror(static_cast<int>(-file));
    const auto handle = static_cast<uint32_t>(file);
    EXPECT_EQ(call(Op::write, handle, {-1}, "still here").result, 10);
    EXPECT_EQ(call(Op::read, handle, {100, 0}).first, "still here");
    EXPECT_EQ(call(Op::close, handle, {}).result, 0);
    EXPECT_EQ(call(Op::unlink, 0, {}, "/sane").result, 0);
  }

  bool ended() {
    if (pid > 0 && waitpid(pid, &status, WNOHANG) == pid) pid = -1;
    return pid <= 0;
  }
  // Whether it ends within this time.
  bool ends(int timeout_ms) {
    const auto end = in_ms(timeout_ms);
    while (!ended() && ms_until(end) > 0) usleep(1000);
    return ended();
  }
  // Its messages, after it has ended.
  std::string errors() {
    std::string text;
    char buffer[4096];
    for (ssize_t got; (got = read(errors_.get(), buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<size_t>(got));
    return text;
  }
  // The process that does the work; 0: there is none.
  pid_t worker() const {
    std::ifstream children("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
    pid_t child = 0;
    children >> child;
    return child;
  }
  // A line of the worker's status, as a number.
  long status_of(const std::string& name, int base = 10) const {
    std::ifstream lines("/proc/" + std::to_string(worker()) + "/status");
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(name + ":")) return strtol(line.c_str() + name.size() + 1, nullptr, base);
    return -1;
  }
  void wait_for_wake(int ms) {
    pollfd waiting{tracer->wake_fd(), POLLIN, 0};
    if (poll(&waiting, 1, ms) == 1) tracer->woken();
  }

  // Offsets in the ring of calls.
  static constexpr size_t kWritten = 0, kRead = 64, kData = 192, kRing = 192 + Channel::kRingSize;
  std::atomic_ref<uint64_t> word(size_t offset) const {
    return std::atomic_ref(*reinterpret_cast<uint64_t*>(memory_ + offset));
  }
  // Wakes the proxy as an attacker does, whatever the channel says.
  void wake() const {
    const uint64_t one = 1;
    (void)!write(for_proxy_.get(), &one, sizeof one);
  }
  std::byte* data() const { return memory_ + kData; }

  pid_t pid = -1;
  int status = 0;
  UniqueFd life;
  std::unique_ptr<Channel> tracer;
  std::map<uint64_t, Reply> answers;
  uint64_t last_id = 0;

 private:
  UniqueFd errors_, for_proxy_;
  std::byte* memory_;
  std::vector<std::byte> storage_;
};

constexpr char kSecret[] = "CANARY-THAT-NOBODY-MAY-READ";

// A root for a proxy, in a small file system of its own, with canaries beside it.
class ProxyTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "this host: only root may mount the small file system that it needs";
    static const bool alone = unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
                              mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 && add_network();
    if (!alone) GTEST_SKIP() << "this host: lets nobody make namespaces: " << strerror(errno);
    umask(0);
    char path[] = "/tmp/oboro-proxy-test-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    top = path;
    if (mount("tmpfs", path, "tmpfs", 0, "size=64m,mode=755,nr_inodes=20000") != 0)
      GTEST_SKIP() << "this host: no tmpfs: " << strerror(errno);
    root = top + "/root";
    std::filesystem::create_directories(root + "/deep/er");
    std::filesystem::create_directories(top + "/beside/deep");
    std::ofstream(top + "/outside") << kSecret;
    std::ofstream(top + "/beside/outside") << kSecret;
    std::ofstream(root + "/inside") << "inside";
    std::filesystem::create_symlink(top + "/outside", top + "/beside/link");
  }
  void TearDown() override {
    if (top.empty()) return;
    umount2(top.c_str(), MNT_DETACH);
    rmdir(top.c_str());
  }
  // 10.9.9.1, and no way to any other host.
  static bool add_network() {
    const UniqueFd any(socket(AF_INET, SOCK_DGRAM, 0));
    ifreq request{};
    strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(any.get(), SIOCSIFFLAGS, &request) != 0) return false;
    return add_address("lo:1", "10.9.9.1");
  }
  static bool add_address(const char* name, const char* host) {
    const UniqueFd any(socket(AF_INET, SOCK_DGRAM, 0));
    ifreq request{};
    strcpy(request.ifr_name, name);
    const sockaddr_in in = address(host, 0);
    std::memcpy(&request.ifr_addr, &in, sizeof in);
    return ioctl(any.get(), SIOCSIFADDR, &request) == 0;
  }
  Proxy start(const ProxyStart& how = {}) const { return Proxy(root, how); }

  // Everything that is not beneath the root, in words.
  std::string outside() const {
    std::string all;
    const auto add = [&](const std::string& path) {
      struct stat s {};
      lstat(path.c_str(), &s);
      char target[4096];
      const ssize_t size = readlink(path.c_str(), target, sizeof target);
      std::ifstream in(path);
      all += path + " " + std::to_string(s.st_ino) + " " + std::to_string(s.st_mode) + " " +
             std::to_string(s.st_nlink) + " " + std::to_string(s.st_uid) + " " + std::to_string(s.st_size) + " " +
             std::to_string(s.st_ctim.tv_sec) + "." + std::to_string(s.st_ctim.tv_nsec) + " " +
             std::to_string(s.st_mtim.tv_nsec) + " " +
             (S_ISREG(s.st_mode) ? std::string(std::istreambuf_iterator<char>(in), {}) : "") + " " +
             std::string(target, static_cast<size_t>(std::max<ssize_t>(size, 0))) + "\n";
    };
    add(top);
    for (auto at = std::filesystem::recursive_directory_iterator(top); at != std::filesystem::end(at); ++at) {
      if (at->path() == root)
        at.disable_recursion_pending();
      else
        add(at->path());
    }
    return all;
  }

  std::string top, root;
};

}  // namespace oboro::proxy
