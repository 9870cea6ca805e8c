// A guest whose QEMU is a script. The tracer at the other ends of its channels is this test.
#include "supervisor/guest.h"

#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <future>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/supervisor.h"
#include "tests/support/guest/fake_guest.h"
#include "tests/support/store/testing.h"

namespace oboro::supervisor {
namespace {

using std::chrono::milliseconds;

// What SIGTERM does to it; "up" is there once that is so.
constexpr char kEndsWhenTold[] = "trap 'echo told > \"$OUT/told\"; exit 0' TERM; echo up > \"$OUT/up\"; ";
constexpr char kGoesOn[] = "trap 'echo told > \"$OUT/told\"' TERM; echo up > \"$OUT/up\"; ";
constexpr char kForEver[] = "while :; do sleep 0.05; done";

class GuestTest : public testing::Test {
 protected:
  void SetUp() override {
    setenv("OBORO_CACHE", directory.path().c_str(), 1);
    Result<Loop> made = Loop::create();
    ASSERT_TRUE(made);
    loop.emplace(std::move(*made));
    options.machine.engine = Engine::tcg;
    options.machine.vm = "web";
    options.machine.memory = 4096;
    options.machine.qemu = directory.path() + "/qemu";
    options.state_dir = directory.path() + "/state";
    options.rules = {{"/secret", 0, "classified"}};
    options.builder = directory.path() + "/builder";
    script("builder", "exit 1");
  }
  void script(const std::string& name, const std::string& text) const {
    directory.write(name, "#!/bin/sh\n[ \"$1\" = --version ] && echo QEMU emulator version 11.1.0 && exit 0\nOUT=" +
                              directory.path() + "\n" + text + "\n");
    chmod((directory.path() + "/" + name).c_str(), 0700);
  }
  void prepare(const std::string& qemu) {
    script("qemu", qemu);
    Result<std::unique_ptr<Guest>> made = Guest::prepare(options, link::SupervisorLoss::kill);
    ASSERT_TRUE(made) << made.error().message;
    guest = std::move(*made);
    const Inherited fds = guest->inherited();
    control.reset(fcntl(fds.control, F_DUPFD_CLOEXEC, 0));
    commands.reset(fcntl(fds.commands, F_DUPFD_CLOEXEC, 0));
    ASSERT_TRUE(guest->begin());
  }
  void start(const std::string& when_told = kEndsWhenTold, const std::string& work = kForEver) {
    prepare(when_told + work);
    Result<Child> child = Child::start({options.machine.qemu}, {}, {});
    ASSERT_TRUE(child) << child.error().message;
    watch(std::move(*child));
    turn_until([this] { return !file("up").empty(); });
  }
  void watch(Child child) {
    ASSERT_TRUE(guest->watch(*loop, std::move(child), [this] { ++overs; }));
  }
  void turn() {
    ++turns;
    ASSERT_TRUE(loop->turn(milliseconds(20)));
  }
  template <typename Condition>
  void turn_until(Condition&& condition) {
    for (const int last = turns + 3000; turns < last; turn())
      if (condition()) return;
    FAIL() << "it does not come to that";
  }
  void turn_until_over() {
    turn_until([this] { return overs > 0; });
  }
  std::future<std::string> asks(const std::string& request) {
    return std::async(std::launch::async, [this, request] {
      const Result<std::string> answer = ask_run(options.state_dir, request);
      return answer ? *answer : answer.error().message;
    });
  }
  std::string answer_of(std::future<std::string> answer) {
    turn_until([&] { return answer.wait_for(milliseconds(0)) == std::future_status::ready; });
    return answer.get();
  }
  std::string ask(const std::string& request) { return answer_of(asks(request)); }
  // As the tracer.
  void say(const link::Body& body) const {
    const bool asks = link::type_of(body) == link::Type::IdentifyKernel;
    const UniqueFd image(asks ? memfd_create("image", MFD_CLOEXEC) : -1);
    ASSERT_TRUE(link::send(control.get(), body, 0, image.get()));
  }
  link::Message command() {
    Result<link::Message> message = Error{};
    turn_until([&] { return (message = link::receive(commands.get(), 0)) || message.error().code == Errc::io; });
    EXPECT_TRUE(message);
    return message ? std::move(*message) : link::Message{};
  }
  std::string state() const { return store::read_status(options.state_dir)->state; }
  std::string file(const std::string& name) const { return directory.read(name); }

  store::testing::TempDirectory directory;
  Options options;
  std::optional<Loop> loop;
  std::unique_ptr<Guest> guest;
  UniqueFd control, commands;
  int overs = 0, turns = 0;
};

TEST_F(GuestTest, FromItsBeginToItsEnd) {
  start(kEndsWhenTold, "while [ ! -e \"$OUT/end\" ]; do sleep 0.05; done");
  EXPECT_EQ(state(), "booting");
  say(link::Armed{"6.1.0", "0123", 35, true, 1500});
  turn_until([this] { return state() == "tracing"; });
  EXPECT_EQ(store::read_status(options.state_dir)->arm_ms, 1.5);
  EXPECT_EQ(overs, 0);
  directory.write("end", "");
  turn_until_over();
  EXPECT_EQ(overs, 1);
  ASSERT_TRUE(guest->ending());
  EXPECT_EQ(*guest->ending(), Ending::guest_ended);
  EXPECT_EQ(state(), "ended");
  EXPECT_NE(file("state/events.jsonl").find("\"stopped\""), std::string::npos);
  EXPECT_NE(access((options.state_dir + "/run.sock").c_str(), F_OK), 0);
}

TEST_F(GuestTest, EverythingIsAnsweredWhileAProfileIsBuilt) {
  // Longer than this test may take in any case: what is answered below is not answered after it.
  script("builder", "echo $$ > \"$OUT/pid\"; exec sleep 600");
  start();
  say(link::IdentifyKernel{"0123456789abcdef", 0xffffffff81000000});
  turn_until([this] { return !file("pid").empty(); });
  const pid_t builder = atoi(file("pid").c_str());
  const auto begin = std::chrono::steady_clock::now();
  int answers = 0;
  for (int i = 0; i < 20; ++i) {
    if (ask("status") == "booting") ++answers;
    std::future<std::string> detach = asks("detach");
    const link::Message message = command();
    EXPECT_TRUE(message.as<link::Detach>());
    ASSERT_TRUE(link::send(commands.get(), link::Done{}, message.request));
    if (answer_of(std::move(detach)) == "ok") ++answers;
  }
  EXPECT_EQ(answers, 40);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(40)) << "1 s for each";
  EXPECT_EQ(kill(builder, 0), 0) << "all of that while it works";
  guest->end();
  EXPECT_EQ(kill(builder, 0), -1) << "nobody needs that any more";
  turn_until_over();
  EXPECT_EQ(file("told"), "told\n");
}

TEST_F(GuestTest, AQemuThatDoesNotEndIsKilledAndNobodyWaitsForItMeanwhile) {
  start(kGoesOn);
  turn();
  guest->end();
  guest->end();
  turn_until([this] { return !file("told").empty(); });
  EXPECT_EQ(ask("status"), "booting");
  turn_until_over();
  ASSERT_TRUE(guest->ending());
  EXPECT_EQ(*guest->ending(), Ending::failed);
  EXPECT_NE(store::read_status(options.state_dir)->error.find("signal 9"), std::string::npos);
}

TEST_F(GuestTest, TheTracersAnswersAreTheClients) {
  start();
  std::future<std::string> stats = asks("stats"), refused = asks("detach");
  for (int i = 0; i < 2; ++i) {
    const link::Message message = command();
    // Nobody's.
    ASSERT_TRUE(link::send(commands.get(), link::Done{}, message.request + 1000));
    if (message.as<link::GetStats>()) {
      ASSERT_TRUE(link::send(commands.get(), link::Stats{.hooks_armed = 35, .boot = 2}, message.request));
    } else {
      ASSERT_TRUE(link::send(commands.get(), link::Failed{"not here"}, message.request));
    }
  }
  const std::string text = answer_of(std::move(stats));
  EXPECT_NE(text.find("hooks_armed 35\n"), std::string::npos) << text;
  EXPECT_NE(text.find("boot 2\n"), std::string::npos) << text;
  EXPECT_EQ(answer_of(std::move(refused)), "not here");
  EXPECT_EQ(ask("dance"), "the request is not understood");
  std::future<std::string> ping = asks("ping");
  command();
  commands.reset();
  EXPECT_EQ(answer_of(std::move(ping)), "the tracer is gone");
  EXPECT_EQ(ask("ping"), "the tracer is gone");
  guest->end();
  turn_until_over();
}

TEST_F(GuestTest, WhatCannotBeTracedIsEnded) {
  start();
  say(link::Untraceable{"why"});
  turn_until_over();
  EXPECT_EQ(file("told"), "told\n");
  ASSERT_TRUE(guest->ending());
  EXPECT_EQ(*guest->ending(), Ending::not_traceable);
  EXPECT_EQ(state(), "failed");
}

TEST_F(GuestTest, AnErrorIsTheRunsEnd) {
  start();
  say(link::GoOn{});
  turn_until_over();
  EXPECT_EQ(file("told"), "told\n");
  ASSERT_FALSE(guest->ending());
  EXPECT_EQ(guest->ending().error().code, Errc::invalid);
}

TEST_F(GuestTest, ItsQemuNeedNotBeOurChild) {
  prepare("");
  const pid_t qemu = fork();
  if (qemu == 0) {
    pause();
    _exit(1);
  }
  Result<Child> adopted = Child::adopt(qemu);
  ASSERT_TRUE(adopted);
  watch(std::move(*adopted));
  turn();
  EXPECT_EQ(overs, 0);
  kill(qemu, SIGKILL);
  turn_until_over();
  ASSERT_TRUE(guest->ending());
  EXPECT_EQ(*guest->ending(), Ending::guest_ended) << "how it ended nobody tells us";
  int status = 0;
  EXPECT_EQ(waitpid(qemu, &status, 0), qemu) << "that is its parent's";
}

// With a proxy in a machine whose QEMU and relay are scripts.
class GuestWithAProxyMachine : public GuestTest {
 protected:
  void SetUp() override {
    GuestTest::SetUp();
    std::string kernel(0x1000, '\0');
    kernel.replace(0x202, 4, "HdrS");
    kernel[0x20f] = '\x04';
    kernel.replace(0x600, 4, "6.1 ");
    directory.write("kernel", kernel);
    std::filesystem::create_directories(directory.path() + "/state/hidden");
    chmod((directory.path() + "/state").c_str(), 0700);
    directory.write("state/hidden/log.ext4", "");
    directory.write("modules.dep", "");
    directory.write("modules.builtin", "a/virtio_pci.ko\na/virtio_console.ko\na/virtio_blk.ko\na/ext4.ko\n");
    script("machine", "while [ ! -e \"$OUT/machine-ends\" ]; do sleep 0.05; done");
    options.hidden.resize(1);
    options.hidden[0].name = "log";
    options.hidden[0].files = {"/secure/**"};
    options.proxy.program = directory.path() + "/relay";
    options.proxy.machine = {directory.path() + "/kernel", directory.path(), directory.path() + "/machine"};
  }
  // Says that the machine is there once "there" is, and ends once "relay-ends" is.
  static constexpr char kRelay[] =
      "while [ \"$1\" != --ready ]; do shift; done\n"
      "until [ -e \"$OUT/there\" ] || [ -e \"$OUT/relay-ends\" ]; do sleep 0.05; done\n"
      "[ -e \"$OUT/there\" ] && echo > /proc/self/fd/$2\n"
      "until [ -e \"$OUT/relay-ends\" ]; do sleep 0.05; done";
};

TEST_F(GuestWithAProxyMachine, TheGuestDoesNotWaitForIt) {
  script("relay", kRelay);
  start();
  EXPECT_EQ(ask("status"), "booting");
  directory.write("there", "");
  directory.write("machine-ends", "");
  directory.write("relay-ends", "");
  turn_until([this] {
    return file("state/events.jsonl").find("the proxy of hidden service log has ended with its machine") !=
           std::string::npos;
  });
  EXPECT_EQ(ask("status"), "booting");
  EXPECT_EQ(overs, 0);
  guest->end();
  turn_until_over();
  EXPECT_TRUE(guest->ending());
}

TEST_F(GuestWithAProxyMachine, TheRunEndsIfItDoesNotStart) {
  script("relay", kRelay);
  start();
  directory.write("machine-ends", "");
  directory.write("relay-ends", "");
  turn_until_over();
  EXPECT_EQ(file("told"), "told\n");
  ASSERT_FALSE(guest->ending());
  EXPECT_EQ(guest->ending().error().message, "hidden service log: the proxy's machine did not start");
  EXPECT_EQ(file("state/events.jsonl").find("has ended with"), std::string::npos);
}

TEST_F(GuestTest, ASignalForTheSupervisorEndsItsQemuInOrder) {
  script("qemu", std::string(kEndsWhenTold) + kForEver);
  options.machine.kernel = "/dev/null";
  options.machine.memory = 64 << 20;
  const pid_t supervisor = fork();
  if (supervisor == 0) {
    const Result<Ending> ending = run(options);
    _exit(ending && *ending == Ending::guest_ended ? 17 : 1);
  }
  for (int i = 0; i < 3000 && file("up").empty(); ++i) usleep(20000);
  kill(supervisor, SIGTERM);
  int status = 0;
  ASSERT_EQ(waitpid(supervisor, &status, 0), supervisor);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 17) << status;
  EXPECT_EQ(file("told"), "told\n");
  EXPECT_EQ(state(), "ended");
}

}  // namespace
}  // namespace oboro::supervisor
