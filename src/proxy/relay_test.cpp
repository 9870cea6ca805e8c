#include "proxy/relay.h"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <future>
#include <gtest/gtest.h>
#include <optional>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace oboro::proxy {
namespace {

constexpr int kPatienceMs = 10000;

struct Ends {
  UniqueFd ours, theirs;
};

Ends sockets() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) abort();
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

ChannelFds copy_of(const ChannelFds& fds) {
  return {UniqueFd(dup(fds.memory.get())), UniqueFd(dup(fds.for_proxy.get())), UniqueFd(dup(fds.for_tracer.get()))};
}

// A relay at work. The test has both of its ends.
class RelayTest : public testing::Test {
 protected:
  void SetUp() override {
    auto fds = Channel::create();
    ASSERT_TRUE(fds);
    auto its = Channel::attach(copy_of(*fds), Channel::Side::proxy);
    auto ours = Channel::attach(std::move(*fds), Channel::Side::tracer);
    ASSERT_TRUE(its && ours);
    tracer.emplace(std::move(*ours));
    Ends port = sockets(), end = sockets();
    stream = std::move(port.ours);
    life = std::move(end.ours);
    done = std::async(std::launch::async, [channel = std::move(*its), theirs = std::move(port.theirs),
                                           its_end = std::move(end.theirs)]() mutable {
      return relay(std::move(channel), std::move(theirs), its_end.get());
    });
  }
  void TearDown() override {
    life.reset();
    stream.reset();
    if (!done.valid()) return;
    EXPECT_EQ(done.wait_for(std::chrono::milliseconds(kPatienceMs)), std::future_status::ready);
  }

  static Frame frame(uint64_t id, std::string_view first = {}, std::string_view second = {}) {
    Frame one;
    one.op = Op::write;
    one.id = id;
    one.arguments = {1, -2, 3, INT64_MIN};
    one.first = bytes_of(first);
    one.second = bytes_of(second);
    return one;
  }
  static std::string bytes(const Frame& one) {
    const auto header = header_of(one);
    return std::string(reinterpret_cast<const char*>(header.data()), header.size()) + std::string(one.text()) +
           std::string(one.second_text());
  }
  void tell(std::string_view text) const { ASSERT_TRUE(write_all(stream.get(), text)); }
  void send(const Frame& one) {
    while (!tracer->send(one)) {
      ASSERT_FALSE(tracer->broken());
      wait(tracer->wake_fd(), 5);
      tracer->woken();
    }
  }
  static bool wait(int fd, int ms = kPatienceMs) {
    pollfd waiting{fd, POLLIN, 0};
    return poll(&waiting, 1, ms) == 1;
  }
  // The next frame out of the channel.
  std::optional<Frame> receive() {
    for (;;) {
      if (auto one = tracer->receive(storage)) return one;
      if (!tracer->may_sleep()) continue;
      if (!wait(tracer->wake_fd())) return std::nullopt;
      tracer->woken();
    }
  }
  std::string hear(size_t size) const {
    std::string text(size, '\0');
    for (size_t have = 0; have < size;) {
      const ssize_t count = wait(stream.get()) ? read(stream.get(), text.data() + have, size - have) : 0;
      if (count <= 0) return text.substr(0, have);
      have += static_cast<size_t>(count);
    }
    return text;
  }
  Result<void> ends() {
    if (done.wait_for(std::chrono::milliseconds(kPatienceMs)) != std::future_status::ready)
      return Error{Errc::internal, "it goes on"};
    return done.get();
  }

  std::optional<Channel> tracer;
  UniqueFd stream, life;
  std::future<Result<void>> done;
  std::vector<std::byte> storage;
};

TEST_F(RelayTest, CarriesFramesBothWaysAsTheyAre) {
  const Frame call = frame(7, "path", "target");
  send(call);
  EXPECT_EQ(hear(bytes(call).size()), bytes(call));
  tell(bytes(frame(7, "", "answer")) + bytes(frame(8)));
  const auto first = receive();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->id, 7u);
  EXPECT_EQ(first->arguments, frame(0).arguments);
  EXPECT_EQ(first->second_text(), "answer");
  const auto second = receive();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->id, 8u);
}

TEST_F(RelayTest, PutsAFrameTogetherThatComesInPieces) {
  const std::string text = bytes(frame(1, "abc", "defg"));
  for (const char byte : text) {
    tell(std::string_view(&byte, 1));
    std::this_thread::yield();
  }
  const auto one = receive();
  ASSERT_TRUE(one);
  EXPECT_EQ(one->text(), "abc");
  EXPECT_EQ(one->second_text(), "defg");
}

TEST_F(RelayTest, LosesNothingWhenNobodyTakesItForAWhile) {
  // More than the channel and the socket hold together, in both directions.
  constexpr uint64_t kFrames = 40;
  const std::string data(kMaxData, 'x');
  std::thread writer([&] {
    for (uint64_t id = 1; id <= kFrames; ++id) tell(bytes(frame(id, data)));
  });
  std::thread caller([&] {
    for (uint64_t id = 1; id <= kFrames; ++id) send(frame(id, data));
  });
  usleep(50000);
  for (uint64_t id = 1; id <= kFrames; ++id) EXPECT_EQ(hear(kHeaderSize + data.size()), bytes(frame(id, data))) << id;
  caller.join();
  for (uint64_t id = 1; id <= kFrames; ++id) {
    const auto one = receive();
    EXPECT_TRUE(one) << id;
    if (!one) break;
    EXPECT_EQ(one->id, id);
    EXPECT_EQ(one->first.size(), data.size());
  }
  writer.join();
}

TEST_F(RelayTest, EndsWithTheStream) {
  stream.reset();
  EXPECT_TRUE(ends());
}

TEST_F(RelayTest, SendsWhatWasThereBeforeItsEnd) {
  for (uint64_t id = 1; id <= 100; ++id) send(frame(id, "last words"));
  life.reset();
  const size_t size = bytes(frame(1, "last words")).size();
  EXPECT_EQ(hear(100 * size).size(), 100 * size);
  EXPECT_TRUE(ends());
}

TEST_F(RelayTest, EndsThoughNobodyTakesWhatIsThere) {
  const std::string data(kMaxData, 'x');
  for (uint64_t id = 1; id <= 3; ++id) send(frame(id, data));
  life.reset();
  EXPECT_TRUE(ends());
}

TEST_F(RelayTest, RefusesWhatIsNoFrame) {
  std::string text = bytes(frame(1));
  text[6] = 1;  // is zero in every frame
  tell(text);
  const auto how = ends();
  ASSERT_FALSE(how);
  EXPECT_EQ(how.error().code, Errc::invalid);
}

TEST_F(RelayTest, RefusesASizeThatNoFrameHas) {
  tell(std::string("\xff\xff\xff\xff", 4));
  const auto how = ends();
  ASSERT_FALSE(how);
  EXPECT_EQ(how.error().code, Errc::invalid);
}

}  // namespace
}  // namespace oboro::proxy
