#include "supervisor/run_socket.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>

namespace oboro::supervisor {
namespace {

class RunSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/oboro-run-socket.XXXXXX";
    directory = mkdtemp(name);
    // Longer than what a socket's address has room for.
    directory += "/" + std::string(150, 'x');
    ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
  }
  void TearDown() override {
    rmdir(directory.c_str());
    rmdir(directory.substr(0, directory.rfind('/')).c_str());
  }
  std::string directory;
};

TEST_F(RunSocketTest, AnswersOneRequestAfterTheOther) {
  const Result<RunSocket> socket = RunSocket::listen(directory);
  ASSERT_TRUE(socket);
  std::thread server([&] {
    for (int i = 0; i < 2; ++i) {
      pollfd wait{socket->poll_fd(), POLLIN, 0};
      EXPECT_EQ(poll(&wait, 1, 10000), 1);
      socket->serve([](std::string_view request) { return "you said " + std::string(request); });
    }
  });
  for (const char* request : {"one", "two"}) {
    const Result<std::string> answer = ask_run(directory, request);
    ASSERT_TRUE(answer);
    EXPECT_EQ(*answer, std::string("you said ") + request);
  }
  server.join();
}

TEST_F(RunSocketTest, NobodyIsThere) {
  const Result<std::string> answer = ask_run(directory, "x");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::not_found);
  EXPECT_EQ(ask_run("/nonexistent", "x").error().code, Errc::io);
}

TEST_F(RunSocketTest, TakesThePlaceOfOneThatWasLeft) {
  // As after a crash: the name is there, and nobody listens.
  const std::string leftover = directory + "/run.sock";
  ASSERT_EQ(mknod(leftover.c_str(), S_IFREG | 0600, 0), 0);
  EXPECT_TRUE(RunSocket::listen(directory));
  EXPECT_EQ(access(leftover.c_str(), F_OK), -1) << "it goes with the run";
}

TEST_F(RunSocketTest, AClientThatSaysNothingHoldsNobodyUp) {
  const Result<RunSocket> socket = RunSocket::listen(directory);
  ASSERT_TRUE(socket);
  std::thread silent([&] {
    const Result<std::string> answer = ask_run(directory, "");
    EXPECT_FALSE(answer) << "an empty request is none";
  });
  pollfd wait{socket->poll_fd(), POLLIN, 0};
  EXPECT_EQ(poll(&wait, 1, 10000), 1);
  bool asked = false;
  socket->serve([&](std::string_view) {
    asked = true;
    return "";
  });
  EXPECT_FALSE(asked);
  silent.join();
}

}  // namespace
}  // namespace oboro::supervisor
