#include "link/control.h"

#include <algorithm>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <iterator>
#include <sys/socket.h>
#include <unistd.h>

namespace oboro::link {
namespace {

class ControlTest : public testing::Test {
 protected:
  ControlTest() {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    one.reset(pair[0]);
    other.reset(pair[1]);
  }
  UniqueFd one, other;
};

TEST_F(ControlTest, MessagesKeepTheirBoundaries) {
  ASSERT_TRUE(send(one.get(), IdentifyKernel{"key", 1}, 5));
  ASSERT_TRUE(send(one.get(), Reset{}));
  Result<Message> message = receive(other.get(), 1000);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->request, 5u);
  ASSERT_TRUE(message->as<IdentifyKernel>());
  EXPECT_EQ(message->as<IdentifyKernel>()->build_id, "key");
  EXPECT_TRUE(message->fds.empty());
  message = receive(other.get(), 1000);
  ASSERT_TRUE(message);
  EXPECT_TRUE(message->as<Reset>());
}

TEST_F(ControlTest, LongestMessageAndLonger) {
  int size = 1 << 20;
  setsockopt(one.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  const std::string longest(kMaxMessage - encode(Failed{}, 0).size(), 'x');
  ASSERT_TRUE(send(one.get(), Failed{longest}));
  Result<Message> message = receive(other.get(), 1000);
  ASSERT_TRUE(message) << message.error().message;
  EXPECT_EQ(message->as<Failed>()->why, longest);
  EXPECT_EQ(send(one.get(), Failed{longest + "x"}).error().code, Errc::limit);
  const std::string bytes = encode(Failed{longest + "x"}, 0);
  ASSERT_EQ(::send(one.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  message = receive(other.get(), 1000);
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().code, Errc::limit);
}

TEST_F(ControlTest, WhatIsNoMessageIsAnErrorAndTheChannelGoesOn) {
  ASSERT_EQ(::send(one.get(), "nonsense", 8, 0), 8);
  ASSERT_TRUE(send(one.get(), Ping{}));
  EXPECT_EQ(receive(other.get(), 1000).error().code, Errc::invalid);
  EXPECT_TRUE(receive(other.get(), 1000));
}

TEST_F(ControlTest, Descriptors) {
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  UniqueFd read_end(pipe_ends[0]), write_end(pipe_ends[1]);
  const UniqueFd null(open("/dev/null", O_WRONLY | O_CLOEXEC));
  const int four[] = {write_end.get(), null.get(), null.get(), write_end.get()};
  ASSERT_TRUE(send(one.get(), IdentifyKernel{}, 0, four));
  write_end.reset();
  {
    const Result<Message> message = receive(other.get(), 1000);
    ASSERT_TRUE(message);
    ASSERT_EQ(message->fds.size(), 4u);
    for (const UniqueFd& fd : message->fds) {
      EXPECT_TRUE(fcntl(fd.get(), F_GETFD) & FD_CLOEXEC);
      EXPECT_EQ(write(fd.get(), "y", 1), 1);
    }
  }
  char text[3];
  EXPECT_EQ(read(read_end.get(), text, 3), 2) << "in their order";
  EXPECT_EQ(read(read_end.get(), text, 2), 0) << "the message closed it";
  const int five[5] = {};
  EXPECT_EQ(send(one.get(), IdentifyKernel{}, 0, five).error().code, Errc::limit);
}

TEST_F(ControlTest, SeveralDescriptorsDoNotLeak) {
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  UniqueFd read_end(pipe_ends[0]), write_end(pipe_ends[1]);
  std::string bytes = encode(IdentifyKernel{}, 0);
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) char space[CMSG_SPACE(7 * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = space;
  header.msg_controllen = sizeof space;
  cmsghdr* control = CMSG_FIRSTHDR(&header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(7 * sizeof(int));
  int fds[7];
  std::fill(std::begin(fds), std::end(fds), write_end.get());
  memcpy(CMSG_DATA(control), fds, sizeof fds);
  ASSERT_GT(sendmsg(one.get(), &header, 0), 0);
  write_end.reset();
  { const Result<Message> message = receive(other.get(), 1000); }
  char text;
  fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  EXPECT_EQ(read(read_end.get(), &text, 1), 0) << "nobody has it open";
}

TEST_F(ControlTest, TimeoutAndEnd) {
  Result<Message> message = receive(other.get(), 20);
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().code, Errc::limit);
  one.reset();
  message = receive(other.get(), 20);
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().code, Errc::io);
  const Result<void> sent = send(other.get(), Ping{});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::io);
}

}  // namespace
}  // namespace oboro::link
