// oboro-proxy against a tracer's side that has been taken over: calls without sense, floods, and a ring whose bytes
// change. Seeds are printed. OBORO_SEED repeats one.

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <limits>
#include <linux/falloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <random>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <thread>

#include "proxy/process_test.h"
#include "tests/support/proxy/call_generator.h"

namespace oboro::proxy {
namespace {

#ifdef OBORO_SANITIZED
constexpr int kFlood = 50000, kCalls = 10000, kRaces = 10000;
#else
constexpr int kFlood = 1000000, kCalls = 20000, kRaces = 10000;
#endif

uint64_t seed() {
  const char* given = getenv("OBORO_SEED");
  const uint64_t value = given ? strtoull(given, nullptr, 0) : std::random_device{}();
  printf("seed: OBORO_SEED=%llu\n", static_cast<unsigned long long>(value));
  return value;
}

class HostileTest : public ProxyTest {
 protected:
  void generated(const ProxyStart& how) {
    const std::string before = outside();
    Proxy proxy = start(how);
    CallGenerator generator(seed());
    std::map<uint64_t, Op> waiting;
    for (int i = 0; i < kCalls; ++i) {
      const CallGenerator::Made made = generator.make();
      // A frame has room for one part of the largest size only.
      const std::string_view second =
          std::string_view(made.second)
              .substr(0, std::min(made.second.size(), kMaxFrame - kHeaderSize - made.first.size()));
      const uint64_t id = proxy.send(made.op, made.handle, made.arguments, made.first, second);
      ASSERT_NE(id, 0u) << "after " << i << " calls: " << (proxy.ended() ? proxy.errors() : "it takes no more");
      waiting[id] = made.op;
      proxy.take();
      for (auto& [number, reply] : proxy.answers) {
        const Op op = waiting[number];
        if (op == Op::open || op == Op::socket || op == Op::accept || op == Op::epoll_create)
          if (reply.result > 0) generator.learn(reply.result);
        waiting.erase(number);
        ASSERT_EQ(reply.first.find(kSecret), std::string::npos);
      }
      proxy.answers.clear();
      if (generator.chance(1000)) chmod(root.c_str(), 0755);
    }
    // Each call is answered. Calls that wait are answered when they are told to end.
    for (const auto& [id, op] : waiting) {
      (void)proxy.call(Op::cancel, 0, {static_cast<int64_t>(id)});
      ASSERT_TRUE(proxy.answer(id)) << "call " << static_cast<int>(op);
    }
    EXPECT_EQ(outside(), before);
    chmod(root.c_str(), 0755);
    for (const auto& entry : std::filesystem::directory_iterator(root)) std::filesystem::remove_all(entry.path());
    // Perhaps all handles are taken.
    for (uint32_t handle = 1; handle < 5000; ++handle) (void)proxy.call(Op::close, handle, {});
    proxy.expect_sane();
  }

  struct Ends {
    int status = -1;
    std::string said;
  };
  static Ends end_of(Proxy& proxy) {
    if (!proxy.ends(5000)) return {-1, "it hangs"};
    return {proxy.status, proxy.errors()};
  }
  static void expect_garbled(Proxy& proxy, const std::string& what) {
    const Ends end = end_of(proxy);
    EXPECT_TRUE(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 1) << what << ": " << end.status << " " << end.said;
    EXPECT_EQ(end.said, "oboro-proxy: the calls of the service came garbled\n") << what;
  }
};

TEST_F(HostileTest, GeneratedCalls) { generated({}); }

TEST_F(HostileTest, GeneratedCallsWithANetwork) {
  generated({{"--network", "remote", "--listen", "5140", "--max-files", "100", "--max-memory", "67108864"}});
}

TEST_F(HostileTest, OperationsThatAreNone) {
  for (const unsigned op :
       {static_cast<unsigned>(Op::count), static_cast<unsigned>(Op::count) + 1, 100U, 0x7fffU, 0x8000U, 0xffffU}) {
    Proxy proxy = start();
    ASSERT_GT(proxy.send(static_cast<Op>(op), 1, {}, "x"), 0u);
    expect_garbled(proxy, std::to_string(op));
  }
  Proxy proxy = start();
  EXPECT_EQ(proxy.call(Op::answer, 0, {}).result, -ENOSYS);
  proxy.expect_sane();
}

TEST_F(HostileTest, GarbageInTheRing) {
  std::mt19937_64 random(seed());
  for (int round = 0; round < 60; ++round) {
    Proxy proxy = start();
    if (round % 2) proxy.expect_sane();
    const uint64_t from = proxy.word(Proxy::kWritten);
    for (size_t i = 0; i < 8192; i += 8) {
      const uint64_t word = random();
      std::memcpy(proxy.data() + (from + i) % Channel::kRingSize, &word, 8);
    }
    const uint64_t frame = random() % 3;
    // Not always a size that is refused at once.
    if (frame == 1) std::memcpy(proxy.data() + from % Channel::kRingSize, "\x40\0\0\0", 4);
    proxy.word(Proxy::kWritten) = frame == 2 ? random() : from + 4096;
    proxy.wake();
    expect_garbled(proxy, "round " + std::to_string(round));
  }
}

// Another thread changes bytes that are on their way.
TEST_F(HostileTest, BytesThatChangeInFlight) {
  const uint64_t first_seed = seed();
  const std::string before = outside();
  std::atomic<int> races{0};
  int calls = 0, ends = 0;
  constexpr size_t kFrame = 80;
  for (uint64_t round = 0; races < kRaces || calls < kRaces; ++round) {
    ASSERT_LT(round, 1000u) << races << " races";
    Proxy proxy = start();
    proxy.expect_sane();
    std::atomic<bool> over{false};
    std::thread attacker([&] {
      std::mt19937_64 random(first_seed + round);
      // Mostly not the bytes that end the channel at once, which would take a new proxy: size, operation, parts.
      constexpr size_t kHarmless[] = {8, 12, 16, 24, 25, 32, 40, 48, 56, 57, 60, 64, 70};
      while (!over) {
        const uint64_t taken = proxy.word(Proxy::kRead), there = proxy.word(Proxy::kWritten);
        if (there < taken + kFrame) continue;
        const uint64_t frame = taken + random() % ((there - taken) / kFrame) * kFrame;
        const size_t offset =
            ends < 50 && random() % 20000 == 0 ? random() % 24 : kHarmless[random() % std::size(kHarmless)];
        std::atomic_ref byte(*reinterpret_cast<uint8_t*>(proxy.data() + (frame + offset) % Channel::kRingSize));
        byte.store(static_cast<uint8_t>(random()), std::memory_order_relaxed);
        if (proxy.word(Proxy::kRead) <= frame) ++races;
      }
    });
    for (; races < kRaces || calls < kRaces; ++calls) {
      const auto op = static_cast<Op>(1 + calls % (static_cast<int>(Op::count) - 1));
      const std::string_view path = "/a/../../outside";
      if (!proxy.send(op, calls % 5 ? 0 : 1, {calls % 7, 1}, path,
                      std::string(kFrame - kHeaderSize - path.size(), '/')))
        break;
      proxy.take();
      for (const auto& [id, reply] : proxy.answers) ASSERT_EQ(reply.first.find(kSecret), std::string::npos);
      proxy.answers.clear();
      // Few at a time, so that the proxy is at the frames that are changed.
      const auto end = in_ms(5000);
      while (!proxy.ended() && proxy.word(Proxy::kWritten) - proxy.word(Proxy::kRead) > 8 * kFrame && ms_until(end) > 0)
        proxy.take();
      if (proxy.ended()) break;
    }
    // The proxy comes to the end of the frames, or notices the change.
    const auto end = in_ms(5000);
    while (!proxy.ended() && proxy.word(Proxy::kRead) != proxy.word(Proxy::kWritten) && ms_until(end) > 0) proxy.take();
    over = true;
    attacker.join();
    if (proxy.ends(0) || proxy.word(Proxy::kRead) != proxy.word(Proxy::kWritten)) {
      expect_garbled(proxy, "after " + std::to_string(races));
      ++ends;
    }
  }
  printf("%d calls, %d races, %d proxies ended\n", calls, races.load(), ends);
  EXPECT_GT(ends, 0) << "nothing was hit";
  EXPECT_EQ(outside(), before);
}

TEST_F(HostileTest, AFloodIsBounded) {
  Proxy proxy = start({{"--network", "remote", "--listen", "5140", "--max-memory", "134217728"}});
  const auto file = static_cast<uint32_t>(proxy.call(Op::open, 0, {O_RDWR | O_CREAT, 0600}, "/file").result);
  const auto started = Clock::now();
  int64_t results = 0;
  const std::string data(100, 'd');
  for (int i = 0; i < kFlood; ++i) {
    switch (i % 8) {
      case 0:
        ASSERT_TRUE(proxy.send(Op::read, file, {kMaxData, 0}));
        break;
      case 1:
        ASSERT_TRUE(proxy.send(Op::write, file, {0}, data));
        break;
      case 2:
        ASSERT_TRUE(proxy.send(Op::socket, 0, {AF_INET, SOCK_STREAM, 0}));
        break;
      case 3:
        ASSERT_TRUE(proxy.send(Op::open, 0, {O_RDONLY}, "/inside"));
        break;
      default:
        ASSERT_TRUE(proxy.send(Op::fsync, 99999, {}));
        break;
    }
    if (i % 64 == 0) {
      proxy.take();
      results += static_cast<int64_t>(proxy.answers.size());
      proxy.answers.clear();
    }
  }
  while (results + static_cast<int64_t>(proxy.answers.size()) < kFlood) {
    const size_t had = proxy.answers.size();
    proxy.take();
    if (proxy.answers.size() == had && proxy.tracer->may_sleep()) proxy.wait_for_wake(1000);
    ASSERT_FALSE(proxy.ended()) << proxy.errors();
    ASSERT_LT(Clock::now() - started, std::chrono::seconds(100)) << proxy.answers.size();
  }
  printf("%d calls in %d ms, VmHWM %ld kB\n", kFlood,
         static_cast<int>((Clock::now() - started) / std::chrono::milliseconds(1)), proxy.status_of("VmHWM"));
#ifndef OBORO_SANITIZED
  EXPECT_LT(proxy.status_of("VmHWM"), 64 << 10);
#endif
  for (uint32_t handle = 2; handle < 2000; ++handle) (void)proxy.call(Op::close, handle, {});
  proxy.answers.clear();
  proxy.expect_sane();
}

// The tracer asks for everything there is, and takes nothing.
TEST_F(HostileTest, AnswersThatNobodyTakesAreBounded) {
  for (const int64_t size : {int64_t{0}, int64_t{10}, int64_t{kMaxData}}) {
    Proxy proxy = start({{"--network", "none", "--max-memory", "134217728"}});
    const auto file = static_cast<uint32_t>(proxy.call(Op::open, 0, {O_RDWR | O_CREAT, 0600}, "/file").result);
    ASSERT_EQ(proxy.call(Op::truncate, file, {size}).result, 0);
    Frame read;
    read.op = Op::read;
    read.handle = file;
    read.arguments = {kMaxData, 0};
    int stuck = 0, sent = 0;
    for (read.id = 1000; stuck < 100 && sent < 2000;) {
      if (proxy.tracer->send(read)) {
        ++read.id, ++sent, stuck = 0;
      } else {
        ++stuck;
        usleep(1000);
      }
    }
    for (uint64_t last = 0, now; (now = proxy.word(Proxy::kRead)) != last; last = now) usleep(200000);
    ASSERT_FALSE(proxy.ended()) << proxy.errors();
    printf("size %lld: %d calls, VmHWM %ld kB\n", static_cast<long long>(size), sent, proxy.status_of("VmHWM"));
#ifndef OBORO_SANITIZED
    EXPECT_LT(proxy.status_of("VmHWM"), 64 << 10) << size;
#endif
    // No answer is lost.
    for (int got = 0; got < sent;) {
      proxy.take();
      got += static_cast<int>(proxy.answers.size());
      for (const auto& [id, reply] : proxy.answers)
        ASSERT_TRUE(reply.result == size || reply.result == -ENOBUFS) << reply.result;
      if (proxy.answers.empty() && proxy.tracer->may_sleep()) proxy.wait_for_wake(1000);
      proxy.answers.clear();
      ASSERT_FALSE(proxy.ended()) << proxy.errors();
    }
    proxy.expect_sane();
  }
}

}  // namespace
}  // namespace oboro::proxy
