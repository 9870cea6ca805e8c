#include "supervisor/run_socket.h"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace oboro::supervisor {
namespace {

class RunSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/oboro-run-socket.XXXXXX";
    directory = mkdtemp(name);
    // Longer than the room in a socket's address.
    directory += "/" + std::string(150, 'x');
    ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
  }
  void TearDown() override {
    rmdir(directory.c_str());
    rmdir(directory.substr(0, directory.rfind('/')).c_str());
  }
  void serve(RunSocket::Handler handler) {
    Result<Loop> made = Loop::create();
    ASSERT_TRUE(made);
    loop.emplace(std::move(*made));
    Result<RunSocket> listening = RunSocket::listen(directory);
    ASSERT_TRUE(listening);
    socket = std::make_unique<RunSocket>(std::move(*listening));
    ASSERT_TRUE(socket->serve(*loop, std::move(handler)));
  }
  void turn() { ASSERT_TRUE(loop->turn(std::chrono::milliseconds(20))); }
  std::future<std::string> asks(const std::string& request) {
    return std::async(std::launch::async, [this, request] {
      const Result<std::string> answer = ask_run(directory, request);
      return answer ? *answer : answer.error().message;
    });
  }
  std::string ask(const std::string& request) {
    std::future<std::string> answer = asks(request);
    while (answer.wait_for(std::chrono::seconds(0)) != std::future_status::ready) turn();
    return answer.get();
  }
  // A client that says nothing.
  UniqueFd connected() const {
    UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const UniqueFd at(open(directory.c_str(), O_PATH | O_CLOEXEC));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/run.sock", at.get());
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  std::string directory;
  std::optional<Loop> loop;
  std::unique_ptr<RunSocket> socket;
  char byte = 0;
};

TEST_F(RunSocketTest, AnswersOneRequestAfterTheOther) {
  serve([](std::string_view request, const RunSocket::Peer& by, const RunSocket::Reply& reply) {
    EXPECT_EQ(by.uid, getuid());
    reply("you said " + std::string(request));
  });
  for (const char* request : {"one", "two"}) EXPECT_EQ(ask(request), std::string("you said ") + request);
}

TEST_F(RunSocketTest, AnAnswerMayComeLaterAndKeepsNobodyElseWaiting) {
  RunSocket::Reply late;
  serve([&](std::string_view request, const RunSocket::Peer&, RunSocket::Reply reply) {
    if (request == "late")
      late = std::move(reply);
    else
      reply("now");
  });
  std::future<std::string> waiting = asks("late");
  while (!late) turn();
  EXPECT_EQ(ask("other"), "now");
  late("at last");
  late("twice");
  EXPECT_EQ(waiting.get(), "at last");
  waiting = asks("late");
  late = nullptr;
  while (!late) turn();
  socket.reset();
  late("nobody is there");
  EXPECT_EQ(waiting.get(), "the run did not answer");
}

TEST_F(RunSocketTest, OnlySoManyAtOnceAndEachHasItsTime) {
  serve([](std::string_view, const RunSocket::Peer&, const RunSocket::Reply& reply) { reply("ok"); });
  std::vector<UniqueFd> silent(RunSocket::kMostClients);
  for (UniqueFd& client : silent) {
    client = connected();
    turn();
  }
  EXPECT_NE(ask("x"), "ok");
  while (read(silent[0].get(), &byte, 1) < 0) turn();  // until its time is over
  EXPECT_EQ(ask("x"), "ok");
}

TEST_F(RunSocketTest, NobodyIsThere) {
  const Result<std::string> answer = ask_run(directory, "x");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::not_found);
  EXPECT_EQ(ask_run("/nonexistent", "x").error().code, Errc::io);
}

TEST_F(RunSocketTest, TakesThePlaceOfOneThatWasLeft) {
  // As after a crash: the name is there, and nobody listens on it.
  const std::string leftover = directory + "/run.sock";
  ASSERT_EQ(mknod(leftover.c_str(), S_IFREG | 0600, 0), 0);
  EXPECT_TRUE(RunSocket::listen(directory));
  EXPECT_EQ(access(leftover.c_str(), F_OK), -1) << "it goes with the run";
}

TEST_F(RunSocketTest, AnEmptyRequestIsNone) {
  bool asked = false;
  serve([&](std::string_view, const RunSocket::Peer&, const RunSocket::Reply&) { asked = true; });
  EXPECT_EQ(ask(""), "the run did not answer");
  EXPECT_FALSE(asked);
}

}  // namespace
}  // namespace oboro::supervisor
