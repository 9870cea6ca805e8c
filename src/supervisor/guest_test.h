// A guest whose QEMU is a script. The tracer at the other ends of its channels is the test.
#pragma once

#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/guest.h"
#include "tests/support/guest/fake_guest.h"
#include "tests/support/store/testing.h"

namespace oboro::supervisor {

using std::chrono::milliseconds;

// The script ends by SIGTERM. "up" is there once it is ready for that.
inline constexpr char kEndsWhenTold[] = "trap 'echo told > \"$OUT/told\"; exit 0' TERM; echo up > \"$OUT/up\"; ";
inline constexpr char kGoesOn[] = "trap 'echo told > \"$OUT/told\"' TERM; echo up > \"$OUT/up\"; ";
inline constexpr char kForEver[] = "while :; do sleep 0.05; done";

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
  // Answers --version as QEMU does, and as the library that QEMU is to preload.
  void script(const std::string& name, const std::string& text) const {
    directory.write(name,
                    "#!/bin/sh\nif [ \"$1\" = --version ]; then echo QEMU emulator version 11.1.0\n"
                    "[ -z \"$OBORO_KVM_HELLO\" ] || echo > \"/proc/self/fd/$OBORO_KVM_HELLO\"; exit 0; fi\nOUT=" +
                        directory.path() + "\n" + text + "\n");
    chmod((directory.path() + "/" + name).c_str(), 0700);
  }
  void prepare(const std::string& qemu) {
    script("qemu", qemu);
    Result<std::unique_ptr<Guest>> made = Guest::prepare(options);
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
    ASSERT_TRUE(guest->watch(*loop, std::move(child), std::move(gate), [this] { ++overs; }));
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
  // Sends a message as the tracer.
  void say(const link::Body& body) const {
    const bool asks = link::type_of(body) == link::Type::IdentifyKernel;
    const UniqueFd image(asks ? memfd_create("image", MFD_CLOEXEC) : -1);
    const int fds[] = {image.get()};
    ASSERT_TRUE(link::send(control.get(), body, 0, std::span(fds).first(asks ? 1 : 0)));
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
  Gate gate;
  int overs = 0, turns = 0;
};

}  // namespace oboro::supervisor
