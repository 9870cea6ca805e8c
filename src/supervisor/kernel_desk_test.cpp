#include "supervisor/kernel_desk.h"

#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/guest/fake_guest.h"
#include "tests/support/store/testing.h"

namespace oboro::supervisor {
namespace {

using Served = KernelDesk::Served;

constexpr char kKey[] = "0123456789abcdef";
constexpr char kArmed[] = "6.1.0\n0123\n35\n1\n1.5";

// This side is the tracer.
class KernelDeskTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    ours = UniqueFd(ends[0]);
    tracer = UniqueFd(ends[1]);
    state = directory.path() + "/state";
    std::filesystem::create_directory(state);
    builder = directory.path() + "/builder";
    make();
  }
  void make(bool allow_untraced = false) {
    desk = std::make_unique<KernelDesk>(builder, allow_untraced, ours.get(), status, state, directory.path());
  }
  // A builder that finds this profile in every kernel.
  void builds(const std::string& profile) const {
    directory.write("profile", profile);
    directory.write("builder", "#!/bin/sh\nexec /bin/cat " + directory.path() + "/profile\n");
    chmod(builder.c_str(), 0700);
  }
  void cached(const guest::Profile& profile) const {
    ASSERT_TRUE(guest::ProfileCache(directory.path()).store(kKey, profile));
  }
  void say(char type, const std::string& payload = {}) const {
    const UniqueFd image(type == 'K' ? memfd_create("image", MFD_CLOEXEC) : -1);
    ASSERT_TRUE(link::send_message(tracer.get(), type, payload, image.get()));
  }
  void ask() const { say('K', std::string(kKey) + " ffffffff81000000"); }
  char answer() const {
    const auto message = link::receive_message(tracer.get(), 0);
    return message ? message->type : '-';
  }
  void expect_served() const {
    const auto served = desk->serve();
    ASSERT_TRUE(served) << served.error().message;
    EXPECT_EQ(*served, Served::yes);
  }
  void expect_error(const char* what) const {
    const auto served = desk->serve();
    ASSERT_FALSE(served);
    EXPECT_NE(served.error().message.find(what), std::string::npos) << served.error().message;
  }

  store::testing::TempDirectory directory;
  std::string state, builder;
  store::Status status;
  UniqueFd ours, tracer;
  std::unique_ptr<KernelDesk> desk;
  fake::FakeGuest guest{size_t{32} << 20};
};

TEST_F(KernelDeskTest, OnlyTheEndOfTheChannelIsTheTracersEnd) {
  say('V');
  tracer.reset();
  expect_served();
  const auto served = desk->serve();
  ASSERT_TRUE(served);
  EXPECT_EQ(*served, Served::tracer_is_gone);
}

TEST_F(KernelDeskTest, ATracerThatDoesNotWaitForItsAnswerIsGone) {
  builds(guest.profile.format());
  ask();
  tracer.reset();
  const auto served = desk->serve();
  ASSERT_TRUE(served) << served.error().message;
  EXPECT_EQ(*served, Served::tracer_is_gone);
}

TEST_F(KernelDeskTest, AProfileIsBuiltOnceAndThenCached) {
  builds(guest.profile.format());
  ask();
  expect_served();
  EXPECT_EQ(answer(), 'N');
  ask();
  expect_served();
  EXPECT_EQ(answer(), 'P');
}

TEST_F(KernelDeskTest, ACachedProfileThatIsRightLetsTheGuestRun) {
  cached(guest.profile);
  builds(guest.profile.format());
  ask();
  expect_served();
  EXPECT_EQ(answer(), 'P');
  say('A', kArmed);
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
  say('A', kArmed);
  expect_error("another kernel's");
  EXPECT_EQ(guest::ProfileCache(directory.path()).load(kKey)->format(), other.format());
}

TEST_F(KernelDeskTest, WithoutItsBuilderACachedProfileCannotBeCheckedAndThatEndsTheRun) {
  cached(guest.profile);
  ask();
  expect_served();
  EXPECT_EQ(answer(), 'P');
  say('A', kArmed);
  expect_error("it cannot be told");
}

TEST_F(KernelDeskTest, WithoutItsBuilderANewKernelIsNotTraceable) {
  ask();
  expect_served();
  EXPECT_EQ(answer(), 'E');
  say('U', "why");
  expect_error("cannot be traced: why");
  EXPECT_TRUE(desk->untraceable());
  EXPECT_EQ(answer(), '-');
}

TEST_F(KernelDeskTest, AStateDirectoryThatCannotBeWrittenEndsTheRun) {
  std::filesystem::remove(state);
  for (const char type : {'A', 'R', 'W', 'D'}) {
    say(type, kArmed);
    expect_error("status.json");
  }
  EXPECT_FALSE(desk->untraceable());
}

TEST_F(KernelDeskTest, WhoAllowsItGetsAnUntracedGuest) {
  make(true);
  say('U', "why");
  expect_served();
  EXPECT_EQ(answer(), 'C');
  EXPECT_EQ(store::read_status(state)->state, "untraced");
}

TEST_F(KernelDeskTest, NonsenseEndsTheRun) {
  say('x');
  expect_error("not understood");
  say('A', "6.1.0\n");
  expect_error("not understood");
  say('K', std::string(link::kMaxMessage, 'x'));
  expect_error("too long");
}

}  // namespace
}  // namespace oboro::supervisor
