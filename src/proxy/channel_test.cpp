#include "proxy/channel.h"

#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

namespace oboro::proxy {
namespace {

ChannelFds again(const ChannelFds& fds) {
  return {UniqueFd(dup(fds.memory.get())), UniqueFd(dup(fds.for_proxy.get())), UniqueFd(dup(fds.for_tracer.get()))};
}

class ChannelTest : public testing::Test {
 protected:
  ChannelTest()
      : fds(std::move(*Channel::create())),
        tracer(attach(Channel::Side::tracer)),
        proxy(attach(Channel::Side::proxy)) {}
  Channel attach(Channel::Side side) {
    Result<Channel> channel = Channel::attach(again(fds), side);
    EXPECT_TRUE(channel) << channel.error().message;
    return std::move(*channel);
  }
  static Frame frame(uint64_t id, std::string_view first, std::string_view second = {}) {
    Frame frame;
    frame.op = Op::write;
    frame.id = id;
    frame.first = bytes_of(first);
    frame.second = bytes_of(second);
    return frame;
  }
  // A word of the memory, as an attacker on one side could change it.
  uint64_t* word(size_t offset) {
    if (!raw) raw = mmap(nullptr, 2 * kRing, PROT_READ | PROT_WRITE, MAP_SHARED, fds.memory.get(), 0);
    return reinterpret_cast<uint64_t*>(static_cast<std::byte*>(raw) + offset);
  }
  ~ChannelTest() override {
    if (raw) munmap(raw, 2 * kRing);
  }
  static constexpr size_t kRing = Channel::kRingSize + 3 * 64, kWritten = 0, kRead = 64, kData = 192;

  ChannelFds fds;
  Channel tracer, proxy;
  std::vector<std::byte> storage;
  void* raw = nullptr;
};

TEST_F(ChannelTest, BothWays) {
  EXPECT_FALSE(proxy.receive(storage));
  ASSERT_TRUE(tracer.send(frame(1, "data", "more")));
  ASSERT_TRUE(tracer.send(frame(2, "")));
  auto got = proxy.receive(storage);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->id, 1u);
  EXPECT_EQ(got->text(), "data");
  EXPECT_EQ(got->second_text(), "more");
  got = proxy.receive(storage);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->id, 2u);
  EXPECT_FALSE(proxy.receive(storage));
  ASSERT_TRUE(proxy.send(frame(3, "answer")));
  got = tracer.receive(storage);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->text(), "answer");
}

TEST_F(ChannelTest, FullMeansLaterNotLost) {
  const std::string large(kMaxData, 'x');
  int sent = 0;
  while (tracer.send(frame(static_cast<uint64_t>(sent), large))) ASSERT_LT(++sent, 10);
  EXPECT_GE(sent, 3);
  EXPECT_FALSE(tracer.broken());
  for (int i = 0; i < 100; ++i) {
    const auto got = proxy.receive(storage);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->id, static_cast<uint64_t>(i));
    EXPECT_EQ(got->text(), large);
    ASSERT_TRUE(tracer.send(frame(static_cast<uint64_t>(sent++), large)));
  }
}

TEST_F(ChannelTest, WhoSleepsIsWokenOnce) {
  auto woken = [&](Channel& channel) {
    pollfd waiting{channel.wake_fd(), POLLIN, 0};
    const bool yes = poll(&waiting, 1, 0) == 1;
    if (yes) channel.woken();
    return yes;
  };
  ASSERT_TRUE(tracer.send(frame(1, "")));
  EXPECT_FALSE(woken(proxy)) << "it does not sleep";
  EXPECT_FALSE(proxy.may_sleep()) << "something is there";
  ASSERT_TRUE(proxy.receive(storage));
  EXPECT_TRUE(proxy.may_sleep());
  ASSERT_TRUE(tracer.send(frame(2, "")));
  ASSERT_TRUE(tracer.send(frame(3, "")));
  EXPECT_TRUE(woken(proxy));
  EXPECT_FALSE(woken(proxy));
}

TEST_F(ChannelTest, WhoWaitsForRoomIsWoken) {
  const std::string large(kMaxData, 'x');
  while (tracer.send(frame(1, large))) {
  }
  EXPECT_TRUE(tracer.may_wait_for_room());
  pollfd waiting{tracer.wake_fd(), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, 0), 0);
  ASSERT_TRUE(proxy.receive(storage));
  EXPECT_EQ(poll(&waiting, 1, 0), 1);
  EXPECT_FALSE(tracer.may_wait_for_room());
  EXPECT_TRUE(tracer.send(frame(1, large)));
}

TEST_F(ChannelTest, NothingIsLostBetweenThreads) {
  constexpr uint64_t kCount = 20000;
  std::thread producer([&] {
    for (uint64_t i = 0; i < kCount; ++i)
      while (!tracer.send(frame(i, std::string(i % 3000, static_cast<char>('a' + i % 26))))) std::this_thread::yield();
  });
  for (uint64_t i = 0; i < kCount;) {
    const auto got = proxy.receive(storage);
    if (!got) {
      ASSERT_FALSE(proxy.broken());
      if (!proxy.may_sleep()) continue;
      pollfd waiting{proxy.wake_fd(), POLLIN, 0};
      ASSERT_EQ(poll(&waiting, 1, 10000), 1) << "a wake-up was lost at " << i;
      proxy.woken();
      continue;
    }
    ASSERT_EQ(got->id, i);
    ASSERT_EQ(got->text(), std::string(i % 3000, static_cast<char>('a' + i % 26)));
    ++i;
  }
  producer.join();
}

TEST_F(ChannelTest, PositionsWithoutSenseBreakIt) {
  for (const uint64_t written : {uint64_t{8}, uint64_t{Channel::kRingSize} + 8, UINT64_MAX, UINT64_MAX - 100}) {
    Channel victim = attach(Channel::Side::proxy);
    *word(kWritten) = written;
    EXPECT_FALSE(victim.receive(storage));
    EXPECT_TRUE(victim.broken()) << written;
    EXPECT_FALSE(victim.may_sleep());
  }
  *word(kWritten) = 0;
  *word(kRead) = 1000;
  Channel victim = attach(Channel::Side::tracer);
  EXPECT_FALSE(victim.send(frame(1, "x")));
  EXPECT_TRUE(victim.broken());
}

TEST_F(ChannelTest, FramesWithoutSenseBreakIt) {
  for (const uint64_t size :
       {uint64_t{0}, uint64_t{1}, uint64_t{kHeaderSize - 1}, uint64_t{kMaxFrame + 1}, uint64_t{0xffffffff}}) {
    Channel victim = attach(Channel::Side::proxy);
    *word(kData) = size;
    *word(kWritten) = 4096;
    EXPECT_FALSE(victim.receive(storage));
    EXPECT_TRUE(victim.broken()) << size;
  }
}

// The other side changes bytes in the ring while they are taken out. The worst result is a broken channel.
TEST_F(ChannelTest, BytesThatChangeWhileTheyAreRead) {
  std::atomic<bool> over{false};
  word(0);
  std::thread attacker([&] {
    std::atomic_ref size(*word(kData));
    for (uint64_t i = 0; !over; ++i)
      size.store(i % 2 ? 64 | uint64_t{5} << 32 : 4000 | uint64_t{5} << 32, std::memory_order_relaxed);
  });
  for (int i = 0; i < 20000; ++i) {
    Channel victim = attach(Channel::Side::proxy);
    std::atomic_ref(*word(kWritten)).store(8192);
    const auto got = victim.receive(storage);
    if (got) {
      EXPECT_LE(kHeaderSize + got->first.size() + got->second.size(), storage.size());
    }
  }
  over = true;
  attacker.join();
}

TEST_F(ChannelTest, OnlyChannelsAreAttached) {
  ChannelFds other = again(fds);
  other.memory = UniqueFd(memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_FALSE(Channel::attach(std::move(other), Channel::Side::proxy));
  other = again(fds);
  other.memory = UniqueFd(memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(other.memory.get(), 2 * kRing), 0);
  EXPECT_FALSE(Channel::attach(std::move(other), Channel::Side::proxy)) << "its owner could take the pages away";
}

}  // namespace
}  // namespace oboro::proxy
