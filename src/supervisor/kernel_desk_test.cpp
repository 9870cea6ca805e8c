#include "supervisor/kernel_desk.h"

#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <signal.h>
#include <span>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/guest/fake_guest.h"
#include "tests/support/store/testing.h"

namespace oboro::supervisor {
namespace {

constexpr char kKey[] = "0123456789abcdef";
const link::Armed kArmed{"6.1.0", "0123", 35, true, 1500};

// This test is the tracer.
class KernelDeskTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    ours = UniqueFd(ends[0]);
    fcntl(ours.get(), F_SETFL, O_NONBLOCK);
    Result<Loop> made = Loop::create();
    ASSERT_TRUE(made);
    loop.emplace(std::move(*made));
    tracer = UniqueFd(ends[1]);
    state = directory.path() + "/state";
    std::filesystem::create_directory(state);
    builder = directory.path() + "/builder";
    make();
  }
  void make(bool allow_untraced = false) {
    desk.reset();
    failure.reset();
    desk = std::make_unique<KernelDesk>(
        *loop, builder, allow_untraced, ours.get(), status, state, directory.path(),
        [this](const Error& why) { failure = why; }, [this](const std::string& why) { doubts.push_back(why); });
    ASSERT_TRUE(desk->open());
  }
  void script(const std::string& text) const {
    directory.write("builder", "#!/bin/sh\n" + text + "\n");
    chmod(builder.c_str(), 0700);
  }
  // A builder that finds this profile in every kernel.
  void builds(const std::string& profile) const {
    directory.write("profile", profile);
    script("exec /bin/cat " + directory.path() + "/profile");
  }
  void cached(const guest::Profile& profile) const {
    ASSERT_TRUE(guest::ProfileCache(directory.path()).store(kKey, profile));
  }
  void say(const link::Body& body) const {
    const bool asks = link::type_of(body) == link::Type::IdentifyKernel;
    const UniqueFd image(asks ? memfd_create("image", MFD_CLOEXEC) : -1);
    const int fds[] = {image.get()};
    ASSERT_TRUE(link::send(tracer.get(), body, 0, std::span(fds).first(asks ? 1 : 0)));
  }
  void ask() const { say(link::IdentifyKernel{kKey, 0xffffffff81000000}); }
  void turn() { ASSERT_TRUE(loop->turn(kMost)); }
  void turn_shortly() { ASSERT_TRUE(loop->turn(std::chrono::milliseconds(20))); }
  // What the tracer hears. Nothing is an answer, too.
  std::string answer() const {
    const auto message = link::receive(tracer.get(), 0);
    if (!message) return "-";
    const auto* profile = message->as<link::KernelProfile>();
    return std::string(link::name_of(message->type())) + (profile && profile->cached ? ", cached" : "");
  }
  void expect_served() {
    turn();
    while (!failure && desk->is_building()) turn();
    EXPECT_FALSE(failure) << failure->message;
  }
  void expect_error(const char* what) {
    turn();
    while (!failure && desk->is_building()) turn();
    ASSERT_TRUE(failure);
    EXPECT_NE(failure->message.find(what), std::string::npos) << failure->message;
  }

  static constexpr std::chrono::milliseconds kMost{30000};
  static constexpr char kNew[] = "KernelProfile", kCached[] = "KernelProfile, cached";
  store::testing::TempDirectory directory;
  std::string state, builder;
  store::Status status;
  UniqueFd ours, tracer;
  std::optional<Loop> loop;
  std::optional<Error> failure;
  std::unique_ptr<KernelDesk> desk;
  std::vector<std::string> doubts;
  fake::FakeGuest guest{size_t{32} << 20};
};

TEST_F(KernelDeskTest, OnlyTheEndOfTheChannelIsTheTracersEnd) {
  say(link::MachineFound{});
  tracer.reset();
  expect_served();
  EXPECT_TRUE(desk->finds_machine());
  EXPECT_FALSE(desk->tracer_is_gone());
  expect_served();
  EXPECT_TRUE(desk->tracer_is_gone());
}

TEST_F(KernelDeskTest, ATracerThatDoesNotWaitForItsAnswerIsGone) {
  builds(guest.profile.format());
  ask();
  tracer.reset();
  expect_served();
  EXPECT_TRUE(desk->tracer_is_gone());
}

TEST_F(KernelDeskTest, ATracerThatReadsNothingIsGoneToo) {
  builds(guest.profile.format());
  cached(guest.profile);
  for (int i = 0; i < 10000 && !desk->tracer_is_gone(); ++i) {
    ask();
    turn();
  }
  EXPECT_TRUE(desk->tracer_is_gone());
}

TEST_F(KernelDeskTest, EverythingElseGoesOnWhileAProfileIsBuilt) {
  script("exec sleep 600");
  ask();
  turn();
  ASSERT_TRUE(desk->is_building());
  say(link::Reset{});
  turn();
  EXPECT_EQ(store::read_status(state)->state, "booting");
  say(link::Detached{"asked for"});
  turn();
  EXPECT_EQ(store::read_status(state)->state, "detached");
  EXPECT_TRUE(desk->is_building());
  EXPECT_EQ(answer(), "-");
}

TEST_F(KernelDeskTest, ANewQuestionEndsTheWorkOnTheOneBefore) {
  script("echo $$ > " + directory.path() + "/pid; exec sleep 600");
  ask();
  turn();
  while (directory.read("pid").empty()) turn_shortly();
  const pid_t first = atoi(directory.read("pid").c_str());
  builds(guest.profile.format());
  ask();
  expect_served();
  EXPECT_EQ(answer(), kNew);
  EXPECT_EQ(answer(), "-") << "one answer: the tracer does not wait for the other any more";
  EXPECT_EQ(kill(first, 0), -1);
}

TEST_F(KernelDeskTest, WhatIsVerifiedDecidesHoweverSoonTheGuestBootsAgain) {
  guest::Profile other = guest.profile;
  other.release += "-other";
  cached(guest.profile);
  const std::string go = directory.path() + "/go";
  directory.write("profile", other.format());
  script("while [ ! -e " + go + " ]; do sleep 0.05; done; exec /bin/cat " + directory.path() + "/profile");
  ask();
  turn();
  EXPECT_EQ(answer(), kCached);
  say(kArmed);
  turn();
  ASSERT_TRUE(desk->is_building());
  say(link::Reset{});
  ask();
  turn();
  turn();
  EXPECT_EQ(answer(), "-") << "until it is known what is in the cache";
  directory.write("go", "");
  while (!failure && desk->is_building()) turn();
  ASSERT_TRUE(failure);
  EXPECT_NE(failure->message.find("another kernel's"), std::string::npos) << failure->message;
  EXPECT_EQ(answer(), "-");
}

TEST_F(KernelDeskTest, AQuestionThatWaitedForThatIsAnswered) {
  cached(guest.profile);
  const std::string go = directory.path() + "/go";
  directory.write("profile", guest.profile.format());
  script("while [ ! -e " + go + " ]; do sleep 0.05; done; exec /bin/cat " + directory.path() + "/profile");
  ask();
  turn();
  say(kArmed);
  turn();
  ask();
  turn();
  EXPECT_EQ(answer(), kCached);
  EXPECT_EQ(answer(), "-");
  directory.write("go", "");
  expect_served();
  EXPECT_EQ(answer(), kCached);
}

TEST_F(KernelDeskTest, AProfileIsBuiltOnceAndThenCached) {
  builds(guest.profile.format());
  ask();
  expect_served();
  EXPECT_EQ(answer(), kNew);
  ask();
  expect_served();
  EXPECT_EQ(answer(), kCached);
}

TEST_F(KernelDeskTest, ACachedProfileThatIsRightLetsTheGuestRun) {
  cached(guest.profile);
  builds(guest.profile.format());
  ask();
  expect_served();
  EXPECT_EQ(answer(), kCached);
  say(kArmed);
  expect_served();
  EXPECT_TRUE(desk->was_armed());
  EXPECT_EQ(store::read_status(state)->state, "tracing");
}

TEST_F(KernelDeskTest, ACachedProfileOfAnotherKernelEndsTheRun) {
  guest::Profile other = guest.profile;
  other.release += "-other";
  cached(guest.profile);
  builds(other.format());
  ask();
  expect_served();
  say(kArmed);
  expect_error("another kernel's");
  EXPECT_EQ(guest::ProfileCache(directory.path()).load(kKey)->format(), other.format());
}

TEST_F(KernelDeskTest, WithoutItsBuilderACachedProfileCannotBeCheckedAndThatEndsTheRun) {
  cached(guest.profile);
  ask();
  expect_served();
  EXPECT_EQ(answer(), kCached);
  say(kArmed);
  expect_error("it cannot be told");
}

TEST_F(KernelDeskTest, WithoutItsBuilderANewKernelIsNotTraceable) {
  ask();
  expect_served();
  EXPECT_EQ(answer(), "Failed");
  say(link::Untraceable{"why"});
  expect_error("cannot be traced: why");
  EXPECT_TRUE(desk->untraceable());
  EXPECT_EQ(answer(), "-");
}

TEST_F(KernelDeskTest, AStateDirectoryThatCannotBeWrittenEndsTheRun) {
  std::filesystem::remove(state);
  for (const link::Body& body :
       {link::Body(kArmed), link::Body(link::Reset{}), link::Body(link::NotDetached{}), link::Body(link::Detached{})}) {
    make();
    say(body);
    expect_error("status.json");
  }
  EXPECT_FALSE(desk->untraceable());
}

TEST_F(KernelDeskTest, WhoAllowsItGetsAnUntracedGuest) {
  make(true);
  say(link::Untraceable{"why"});
  expect_served();
  EXPECT_EQ(answer(), "RunUntraced");
  EXPECT_EQ(store::read_status(state)->state, "untraced");
}

TEST_F(KernelDeskTest, NonsenseEndsTheRun) {
  say(link::RunUntraced{});
  expect_error("RunUntraced, which is not understood");
  make();
  ASSERT_EQ(send(tracer.get(), "nonsense", 8, 0), 8);
  expect_error("protocol 110");
  make();
  const std::string long_one(link::kMaxMessage + 1, 'x');
  ASSERT_EQ(send(tracer.get(), long_one.data(), long_one.size(), 0), static_cast<ssize_t>(long_one.size()));
  expect_error("too long");
}

}  // namespace
}  // namespace oboro::supervisor
