#include "proxy/epolls.h"

#include <cerrno>
#include <cstring>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "proxy/server_test.h"

namespace oboro::proxy {
namespace {

class EpollsTest : public ServerTest {
 protected:
  int64_t control(uint32_t instance, int operation, uint32_t target, uint32_t events = 0, int64_t data = 0) {
    return call(Op::epoll_ctl, instance, {operation, target, events, data}).result;
  }
  // The events that are ready now, as data and events.
  std::vector<std::pair<uint64_t, uint32_t>> taken(uint32_t instance, int64_t most = 10) {
    const Reply reply = call(Op::epoll_wait, instance, {most});
    std::vector<std::pair<uint64_t, uint32_t>> events;
    for (size_t at = 0; at < reply.first.size(); at += sizeof(epoll_event)) {
      epoll_event event;
      std::memcpy(&event, reply.first.data() + at, sizeof event);
      events.emplace_back(uint64_t{event.data.u64}, uint32_t{event.events});  // packed: no references into it
    }
    EXPECT_EQ(reply.result, static_cast<int64_t>(events.size()));
    return events;
  }
  static void put(const UniqueFd& peer, std::string_view text) {
    ASSERT_EQ(::send(peer.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  uint64_t poll_for(uint32_t handle, short events) {
    return send(Op::poll, 0, {}, raw(pollfd{static_cast<int>(handle), events, 0}));
  }
  using Events = std::vector<std::pair<uint64_t, uint32_t>>;
};

TEST_F(EpollsTest, LevelAndEdge) {
  start();
  auto [level, peer_of_level] = connected();
  auto [edge, peer_of_edge] = connected();
  const uint32_t instance = made(Op::epoll_create, {});
  ASSERT_EQ(control(instance, EPOLL_CTL_ADD, level, EPOLLIN, 7), 0);
  ASSERT_EQ(control(instance, EPOLL_CTL_ADD, edge, EPOLLIN | EPOLLET, -8), 0);
  EXPECT_EQ(taken(instance), Events());
  put(peer_of_level, "one");
  ASSERT_TRUE(answer(poll_for(instance, POLLIN)));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(taken(instance), Events({{7, EPOLLIN}}));
  EXPECT_EQ(call(Op::receive, level, {10, 0}).first, "one");
  EXPECT_EQ(taken(instance), Events());

  constexpr uint64_t kData = ~uint64_t{7};
  for (const char* text : {"one", "two"}) {
    put(peer_of_edge, text);
    ASSERT_TRUE(answer(poll_for(instance, POLLIN)));
    EXPECT_EQ(taken(instance), Events({{kData, EPOLLIN}})) << "again with what comes, though nothing was read";
    EXPECT_EQ(taken(instance), Events());
  }
}

TEST_F(EpollsTest, OneShotUntilItIsSetAgain) {
  start();
  auto [handle, peer] = connected();
  const uint32_t instance = made(Op::epoll_create, {});
  ASSERT_EQ(control(instance, EPOLL_CTL_ADD, handle, EPOLLOUT | EPOLLONESHOT, 1), 0);
  EXPECT_EQ(taken(instance), Events({{1, EPOLLOUT}}));
  EXPECT_EQ(taken(instance), Events());
  ASSERT_EQ(control(instance, EPOLL_CTL_MOD, handle, EPOLLOUT | EPOLLONESHOT, 2), 0);
  EXPECT_EQ(taken(instance), Events({{2, EPOLLOUT}}));
  ASSERT_EQ(control(instance, EPOLL_CTL_DEL, handle), 0);
  EXPECT_EQ(taken(instance), Events());
}

TEST_F(EpollsTest, TakesNoMoreThanAsked) {
  start();
  const uint32_t instance = made(Op::epoll_create, {});
  for (int i = 0; i < 5; ++i) {
    const uint32_t handle = made(Op::socket, {AF_INET, SOCK_DGRAM, 0});
    ASSERT_EQ(control(instance, EPOLL_CTL_ADD, handle, EPOLLOUT, i), 0);
  }
  EXPECT_EQ(taken(instance, 2).size(), 2U);
  EXPECT_EQ(taken(instance, INT64_MAX).size(), 5U);
}

// A waiting call is woken by a socket that another call adds to the instance.
TEST_F(EpollsTest, WaitingGoesOnThroughChanges) {
  start();
  auto [handle, peer] = connected();
  const uint32_t instance = made(Op::epoll_create, {});
  const uint64_t waiting = poll_for(instance, POLLIN);
  EXPECT_FALSE(answer(waiting, 50));
  ASSERT_EQ(control(instance, EPOLL_CTL_ADD, handle, EPOLLOUT | EPOLLET, 1), 0);
  ASSERT_TRUE(answer(waiting));
  EXPECT_EQ(taken(instance), Events({{1, EPOLLOUT}}));
}

TEST_F(EpollsTest, Nested) {
  start();
  auto [handle, peer] = connected();
  const uint32_t inner = made(Op::epoll_create, {}), outer = made(Op::epoll_create, {});
  ASSERT_EQ(control(inner, EPOLL_CTL_ADD, handle, EPOLLIN, 1), 0);
  ASSERT_EQ(control(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 2), 0);
  EXPECT_EQ(control(inner, EPOLL_CTL_ADD, outer, EPOLLIN, 3), -ELOOP);
  const uint64_t waiting = poll_for(outer, POLLIN);
  EXPECT_FALSE(answer(waiting, 50));
  put(peer, "x");
  ASSERT_TRUE(answer(waiting));
  EXPECT_EQ(taken(outer), Events({{2, EPOLLIN}}));
  EXPECT_EQ(taken(inner), Events({{1, EPOLLIN}}));
}

TEST_F(EpollsTest, ForgetsASocketThatIsClosed) {
  start();
  auto [handle, peer] = connected();
  const uint32_t instance = made(Op::epoll_create, {});
  ASSERT_EQ(control(instance, EPOLL_CTL_ADD, handle, EPOLLOUT, 1), 0);
  ASSERT_EQ(call(Op::close, handle, {}).result, 0);
  EXPECT_EQ(taken(instance), Events());
  EXPECT_EQ(control(instance, EPOLL_CTL_DEL, handle), -EBADF);
}

TEST_F(EpollsTest, Errors) {
  start();
  auto [handle, peer] = connected();
  const uint32_t instance = made(Op::epoll_create, {});
  const uint32_t file = made(Op::open, {O_RDWR | O_CREAT, 0600}, "/file");
  EXPECT_EQ(control(instance, EPOLL_CTL_ADD, file, EPOLLIN), -EPERM);
  EXPECT_EQ(control(instance, EPOLL_CTL_ADD, 12345, EPOLLIN), -EBADF);
  EXPECT_EQ(control(12345, EPOLL_CTL_ADD, handle, EPOLLIN), -EBADF);
  EXPECT_EQ(control(handle, EPOLL_CTL_ADD, handle, EPOLLIN), -EINVAL);
  EXPECT_EQ(control(instance, EPOLL_CTL_ADD, instance, EPOLLIN), -EINVAL);
  EXPECT_EQ(control(instance, 77, handle, EPOLLIN), -EINVAL);
  EXPECT_EQ(control(instance, EPOLL_CTL_MOD, handle, EPOLLIN), -ENOENT);
  EXPECT_EQ(control(instance, EPOLL_CTL_ADD, handle, EPOLLIN), 0);
  EXPECT_EQ(control(instance, EPOLL_CTL_ADD, handle, EPOLLIN), -EEXIST);
  for (const uint32_t none : {handle, file}) EXPECT_EQ(call(Op::epoll_wait, none, {1}).result, -EINVAL);
  EXPECT_EQ(call(Op::epoll_wait, 12345, {1}).result, -EBADF);
  for (const int64_t most : {int64_t{0}, int64_t{-1}, INT64_MIN})
    EXPECT_EQ(call(Op::epoll_wait, instance, {most}).result, -EINVAL);
}

// All epoll instances of a host have the same inode, so a call that changes a file must not reach them.
TEST_F(EpollsTest, IsNoFile) {
  start();
  const uint32_t instance = made(Op::epoll_create, {});
  for (const Op op : {Op::chmod, Op::chown, Op::utimens, Op::truncate, Op::fallocate, Op::flock, Op::fsync, Op::read,
                      Op::write, Op::lseek, Op::statx, Op::statfs, Op::getdents, Op::setfl, Op::readlink})
    EXPECT_EQ(call(op, instance, {}).result, -EINVAL) << static_cast<int>(op);
  for (const Op op : {Op::connect, Op::bind, Op::listen, Op::accept, Op::send, Op::receive, Op::getsockopt})
    EXPECT_EQ(call(op, instance, {}).result, -ENOTSOCK) << static_cast<int>(op);
  EXPECT_LT(call(Op::ioctl, instance, {FIONREAD}).result, 0);
}

TEST_F(EpollsTest, AreBounded) {
  start();
  std::vector<uint32_t> made_ones(Epolls::kMost);
  for (uint32_t& one : made_ones) one = made(Op::epoll_create, {});
  EXPECT_EQ(call(Op::epoll_create, 0, {}).result, -ENOSPC);
  EXPECT_EQ(call(Op::close, made_ones[7], {}).result, 0);
  EXPECT_GT(call(Op::epoll_create, 0, {}).result, 0);
}

TEST_F(EpollsTest, NoneWithoutANetwork) {
  policy = {};
  start();
  EXPECT_EQ(call(Op::epoll_create, 0, {}).result, -EACCES);
}

}  // namespace
}  // namespace oboro::proxy
