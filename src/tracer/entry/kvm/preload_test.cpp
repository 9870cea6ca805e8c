// oboro-kvm.so as it is used: preloaded into another program. That program is tests/support/vmm/fake_vmm.cpp, whose KVM
// is made up. This side is its supervisor.

#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <optional>
#include <spawn.h>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "link/control.h"
#include "link/settings.h"
#include "proxy/channel.h"
#include "stream/ring_reader.h"

namespace oboro::tracer {
namespace {

#ifdef OBORO_SANITIZED
constexpr const char* kCannot =
    "a sanitizer's runtime must be loaded before everything, and a preloaded library is not";
#else
constexpr const char* kCannot = nullptr;
#endif

std::string read_all(int fd) {
  std::string text(1 << 16, '\0');
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

class PreloadTest : public testing::Test {
 protected:
  void SetUp() override {
    if (kCannot) GTEST_SKIP() << kCannot;
    settings = UniqueFd(memfd_create("settings", 0));
    set_settings({});
    char directory[] = "/tmp/oboro-preload-test-XXXXXX";
    ASSERT_TRUE(mkdtemp(directory));
    path = directory;
    const auto made = stream::RingReader::create(path + "/ring", 1 << 16);
    ASSERT_TRUE(made) << made.error().message;
    ring = UniqueFd(open((path + "/ring").c_str(), O_RDWR));
    ring_read = UniqueFd(open((path + "/ring.read").c_str(), O_RDONLY));
    control = pair(control_theirs);
    commands = pair(commands_theirs);
  }
  void set_settings(const link::Settings& what) const {
    const std::string text = what.format();
    ASSERT_EQ(ftruncate(settings.get(), 0), 0);
    ASSERT_EQ(pwrite(settings.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  void TearDown() override {
    if (path.empty()) return;
    unlink((path + "/ring").c_str());
    unlink((path + "/ring.read").c_str());
    unlink((path + "/copy.so").c_str());
    rmdir(path.c_str());
  }
  static UniqueFd pair(UniqueFd& theirs) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    theirs = UniqueFd(ends[1]);
    return UniqueFd(ends[0]);
  }
  std::string start() const {
    return fmt::format("control={},settings={},ring={},ring-read={},commands={},hooks=filter", control_theirs.get(),
                       settings.get(), ring.get(), ring_read.get(), commands_theirs.get());
  }
  // Starts the program, which plays this part. variable: OBORO_KVM.
  void play(const std::string& part, const std::optional<std::string>& variable,
            const std::string& preload = OBORO_KVM_LIBRARY) {
    out = UniqueFd(memfd_create("out", MFD_CLOEXEC));
    errors = UniqueFd(memfd_create("errors", MFD_CLOEXEC));
    std::vector<std::string> environment = {"LD_PRELOAD=" + preload + ":" FAKE_KVM_LIBRARY};
    if (variable) environment.push_back("OBORO_KVM=" + *variable);
    std::vector<char*> words;
    for (std::string& word : environment) words.push_back(word.data());
    words.push_back(nullptr);
    std::string program = FAKE_VMM, argument = part;
    char* arguments[] = {program.data(), argument.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out.get(), 1);
    posix_spawn_file_actions_adddup2(&actions, errors.get(), 2);
    ASSERT_EQ(posix_spawn(&child, FAKE_VMM, &actions, nullptr, arguments, words.data()), 0);
    posix_spawn_file_actions_destroy(&actions);
    control_theirs.reset();
    commands_theirs.reset();
  }
  // The program's exit status; negative: the signal that ended it.
  int over() const {
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  void expect_fine() const {
    EXPECT_EQ(over(), 0) << read_all(errors.get());
    EXPECT_EQ(read_all(out.get()), "ok\n");
    EXPECT_EQ(read_all(errors.get()), "");
  }
  // The names of the messages that the engine side sent until it ended. Each question is answered with a yes.
  std::string messages() {
    std::string types;
    for (;;) {
      const Result<link::Message> message = link::receive(control.get(), 5000);
      if (!message) return types;
      types += link::name_of(message->type());
      if (message->as<link::Untraceable>()) {
        EXPECT_TRUE(link::send(control.get(), link::RunUntraced{}));
      }
    }
  }

  UniqueFd settings, ring, ring_read, control, control_theirs, commands, commands_theirs, out, errors;
  std::string path;
  pid_t child = 0;
};

TEST_F(PreloadTest, InAProgramThatIsNoVmmItSleeps) {
  play("ordinary", "complete nonsense");
  expect_fine();
}

TEST_F(PreloadTest, WithoutItsVariableItSleeps) {
  play("errors", std::nullopt);
  expect_fine();
  EXPECT_EQ(messages(), "");
}

TEST_F(PreloadTest, NonsenseInItsVariableEndsTheVmmWithAWord) {
  for (const char* text : {"", "nonsense", "control=-1,settings=3,ring=4", "control=99999999999999", "control=3"}) {
    play("errors", text);
    EXPECT_EQ(over(), 1) << text;
    EXPECT_NE(read_all(errors.get()).find("oboro: OBORO_KVM: "), std::string::npos) << read_all(errors.get());
    EXPECT_EQ(read_all(out.get()), "");
  }
}

TEST_F(PreloadTest, DescriptorsThatAreSomethingElseEndItWithAWord) {
  play("errors", "control=0,settings=0,ring=0,ring-read=0,commands=0,hooks=filter");
  EXPECT_EQ(over(), 1);
  EXPECT_EQ(read_all(errors.get()).substr(0, 7), "oboro: ");
}

TEST_F(PreloadTest, AKvmThatSharesNoRegistersIsRefused) {
  play("no-shared-registers", start());
  EXPECT_EQ(over(), 1);
  EXPECT_NE(read_all(errors.get()).find("KVM_CAP_SYNC_REGS"), std::string::npos);
}

TEST_F(PreloadTest, ResultsOfKvmRunAreTheVmms) {
  play("errors", start());
  EXPECT_EQ(messages(), "MachineFound");
  expect_fine();
}

TEST_F(PreloadTest, TheGuestsOwnUseOfTheTrapPortIsTheVmms) {
  play("trap-port", start());
  expect_fine();
}

TEST_F(PreloadTest, RegistersAndMemoryWithoutSenseDoNoHarm) {
  play("nonsense", start());
  const std::string types = messages();  // it may take the program for a kernel, but not for one that it can trace
  EXPECT_TRUE(types == "MachineFound" || types == "MachineFoundUntraceable") << types;
  expect_fine();
}

TEST_F(PreloadTest, OfTwoCopiesOneTraces) {
  const std::string copy = path + "/copy.so";
  ASSERT_EQ(std::system(fmt::format("cp '{}' '{}'", OBORO_KVM_LIBRARY, copy).c_str()), 0);
  play("errors", start(), OBORO_KVM_LIBRARY ":" + copy);
  EXPECT_EQ(messages(), "MachineFound");
  expect_fine();
}

TEST_F(PreloadTest, ASecondMachineRunsUntracedAndThatIsSaid) {
  play("two-machines", start());
  EXPECT_EQ(over(), 0);
  EXPECT_NE(read_all(errors.get()).find("second virtual machine"), std::string::npos);
  Result<stream::RingReader> seen = stream::RingReader::look(path + "/ring");
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->counters().incomplete, 1u);
}

TEST_F(PreloadTest, WhatTheVmmStartsIsNotTraced) {
  link::Settings hiding;
  hiding.services.push_back({"web", "/service", "", false, true, {"/var/secret/**"}});
  set_settings(hiding);
  auto channel = proxy::Channel::create();
  ASSERT_TRUE(channel);
  const UniqueFd alive(memfd_create("alive", 0));
  const std::vector<int> fds = {channel->memory.get(), channel->for_proxy.get(), channel->for_tracer.get(),
                                alive.get()};
  for (const int fd : fds) fcntl(fd, F_SETFD, 0);
  play("child", start() + fmt::format(",proxy={}", fmt::join(fds, ":")));
  expect_fine();
}

TEST_F(PreloadTest, NothingRunsUntracedWithoutTheSupervisorsWord) {
  play("programs-first", start());
  EXPECT_EQ(messages(), "MachineFoundUntraceable");
  expect_fine();
}

class SupervisorGoneTest : public PreloadTest, public testing::WithParamInterface<bool> {
 protected:
  // The end of one channel is enough.
  void supervisor_ends() { (GetParam() ? control : commands).reset(); }
  void expect_ended() {
    EXPECT_EQ(over(), 3);
    EXPECT_EQ(read_all(out.get()), "");
    EXPECT_NE(read_all(errors.get()).find("oboro: the supervisor is gone"), std::string::npos)
        << read_all(errors.get());
  }
};

TEST_P(SupervisorGoneTest, BeforeTheVmmNothingRuns) {
  supervisor_ends();
  play("runs", start());
  expect_ended();
}

TEST_P(SupervisorGoneTest, BeforeTheGuestIsTracedTheVmmEnds) {
  play("runs", start());
  const Result<link::Message> message = link::receive(control.get(), 5000);
  ASSERT_TRUE(message && message->as<link::MachineFound>());
  supervisor_ends();
  expect_ended();
}

INSTANTIATE_TEST_SUITE_P(Channels, SupervisorGoneTest, testing::Bool(),
                         [](const auto& one) { return one.param ? "Control" : "Commands"; });

}  // namespace
}  // namespace oboro::tracer
