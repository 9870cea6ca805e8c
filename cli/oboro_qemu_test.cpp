// oboro-qemu with a fake QEMU that only notes its start.

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <spawn.h>
#include <string>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "base/fd.h"
#include "store/state_dir.h"
#include "tests/support/store/testing.h"

namespace oboro {
namespace {

using store::testing::TempDirectory;

class OboroQemuTest : public testing::Test {
 protected:
  void SetUp() override {
#ifdef OBORO_SANITIZED
    GTEST_SKIP() << "a sanitizer's runtime must be loaded before everything, and a preloaded library is not";
#endif
    qemu("echo yes > \"$OUT/started\"");
    set_state(directory.path() + "/state");
  }
  // The script that the fake QEMU runs. It answers --version besides.
  void qemu(const std::string& script) const {
    directory.write("qemu", "#!/bin/sh\n[ \"$1\" = --version ] && echo QEMU emulator version 9.2.0 && exit 0\nOUT=" +
                                directory.path() + "\n" + script + "\n");
    chmod((directory.path() + "/qemu").c_str(), 0700);
  }
  // The guest's own state directory is below this one.
  void set_state(const std::string& path) {
    state = path + "/web";
    std::filesystem::create_directory(path);
    directory.write("config", fmt::format("[[classify]]\npattern = '/secret'\n[run]\nqemu = '{}/qemu'\nstate = '{}'\n",
                                          directory.path(), path));
  }
  // Starts it. Returns its exit status; negative: the signal that ended it.
  int start(const std::vector<std::string>& further = {"-accel", "kvm"}) {
    errors = UniqueFd(memfd_create("errors", MFD_CLOEXEC));
    std::vector<std::string> words = {OBORO_QEMU_PROGRAM, "-name", "web"};
    words.insert(words.end(), further.begin(), further.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::string config = "OBORO_CONFIG=" + directory.path() + "/config", path = "PATH=/usr/bin:/bin";
    char* environment[] = {config.data(), path.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, errors.get(), STDERR_FILENO);
    pid_t child = 0;
    EXPECT_EQ(posix_spawn(&child, OBORO_QEMU_PROGRAM, &actions, nullptr, arguments.data(), environment), 0);
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    // The supervisor ends a moment later.
    for (const auto& guest : std::filesystem::directory_iterator(std::filesystem::path(state).parent_path()))
      while (store::StateLock::is_taken(guest.path()) || std::filesystem::exists(guest.path() / "run.sock"))
        std::this_thread::yield();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  bool was_started() const { return directory.read("started") == "yes\n"; }
  std::string said() const {
    std::string text(1 << 14, '\0');
    const ssize_t size = pread(errors.get(), text.data(), text.size(), 0);
    text.resize(size > 0 ? static_cast<size_t>(size) : 0);
    return text;
  }

  TempDirectory directory;
  std::string state;
  UniqueFd errors;
};

TEST_F(OboroQemuTest, AGuestThatGoesOnFromASavedStateIsNotStarted) {
  for (const std::vector<std::string>& from :
       {std::vector<std::string>{"-accel", "kvm", "-incoming", "defer"}, {"--loadvm", "before", "-accel", "kvm"}}) {
    EXPECT_EQ(start(from), 1);
    EXPECT_NE(said().find("goes on from a saved state cannot be traced"), std::string::npos) << said();
    EXPECT_FALSE(was_started());
  }
}

TEST_F(OboroQemuTest, QemuIsStartedWhenItsSupervisorIsReady) {
  // This has happened before QEMU starts, not some time after.
  qemu("grep -q '\"started\"' " + state + "/events.jsonl && grep -q booting " + state +
       "/status.json && echo yes > \"$OUT/started\"; exit 7");
  EXPECT_EQ(start(), 7) << said();
  EXPECT_TRUE(was_started());
}

TEST_F(OboroQemuTest, AGuestIsKnownByItsUuid) {
  const std::string uuid = "01234567-89ab-cdef-0123-456789abcdef", other = "11111111-1111-1111-1111-111111111111";
  const std::string below = directory.path() + "/state/";
  EXPECT_EQ(start(), 0) << said();  // as a version made it that went by the name
  EXPECT_TRUE(std::filesystem::exists(below + "web/events.jsonl"));
  EXPECT_EQ(start({"-accel", "kvm", "-uuid", uuid}), 0) << said();
  EXPECT_NE(said().find(below + "web was made for a guest of this name"), std::string::npos) << said();
  EXPECT_FALSE(std::filesystem::exists(below + "web"));
  EXPECT_EQ(start({"-accel", "kvm", "-uuid", uuid, "-name", "guest=shop,debug-threads=on"}), 0) << said();
  EXPECT_EQ(said().find("was made"), std::string::npos) << said();
  const auto lines = [&](const std::string& whose) {
    const std::string text = directory.read("state/" + whose + "/events.jsonl");
    size_t found = 0;
    for (size_t at = 0; (at = text.find("\"started\":{", at)) != std::string::npos; ++at) ++found;
    return found;
  };
  EXPECT_EQ(lines(uuid), 3u);
  EXPECT_NE(directory.read("state/" + uuid + "/status.json").find("\"shop\""), std::string::npos)
      << "the name is shown";
  EXPECT_EQ(start({"-accel", "kvm", "-uuid", other}), 0) << said();
  EXPECT_EQ(lines(other), 1u) << "the name's next guest inherits nothing";
  std::filesystem::remove(directory.path() + "/started");
  std::filesystem::remove_all(below + other);
  std::filesystem::rename(below + uuid, below + other);
  EXPECT_EQ(start({"-accel", "kvm", "-uuid", other}), 1);
  EXPECT_NE(said().find("is the state directory of the guest with the UUID " + uuid), std::string::npos) << said();
  EXPECT_EQ(start({"-accel", "kvm", "-uuid", "nonsense"}), 1);
  EXPECT_NE(said().find("-uuid: 'nonsense' is not a UUID"), std::string::npos) << said();
  EXPECT_FALSE(was_started());
}

TEST_F(OboroQemuTest, ASupervisorThatCannotBeginKeepsQemuFromStarting) {
  // A directory of the file's name is in the way.
  std::filesystem::create_directories(state + "/status.json/x");
  chmod(state.c_str(), 0700);
  EXPECT_EQ(start(), 1);
  EXPECT_FALSE(was_started());
  EXPECT_NE(said().find("oboro-qemu: "), std::string::npos) << said();
  EXPECT_NE(said().find("status.json"), std::string::npos) << said();
}

TEST_F(OboroQemuTest, AFullDiskKeepsQemuFromStarting) {
  // A mount of this process's own needs root's rights, or those of a user namespace.
  if (unshare(CLONE_NEWNS) != 0) {
    const std::string user = fmt::format("0 {} 1", getuid()), group = fmt::format("0 {} 1", getgid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) GTEST_SKIP() << "this host: gives no mount namespace";
    std::ofstream("/proc/self/uid_map") << user;
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/gid_map") << group;
  }
  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  const std::string disk = directory.path() + "/disk";
  std::filesystem::create_directory(disk);
  if (mount("disk", disk.c_str(), "tmpfs", 0, "size=32m,mode=700") != 0)
    GTEST_SKIP() << "this host: tmpfs cannot be mounted here";
  set_state(disk + "/state");
  // The disk has room for the ring and small files. The rest then belongs to the journal's reserve.
  struct statfs space {};
  ASSERT_EQ(statfs(disk.c_str(), &space), 0);
  const int64_t left = (8 << 20) + (200 << 10);
  const UniqueFd ballast(open((disk + "/ballast").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(posix_fallocate(ballast.get(), 0, static_cast<int64_t>(space.f_bavail) * space.f_bsize - left), 0);
  EXPECT_EQ(start(), 1);
  EXPECT_FALSE(was_started());
  EXPECT_NE(said().find("events.jsonl"), std::string::npos) << said();
  umount2(disk.c_str(), MNT_DETACH);
}

TEST_F(OboroQemuTest, AQemuThatDoesNotLoadTheTracerIsNotStarted) {
  std::filesystem::remove(directory.path() + "/qemu");
  std::filesystem::create_symlink(STATIC_QEMU, directory.path() + "/qemu");
  EXPECT_EQ(start(), 1);
  EXPECT_FALSE(was_started());
  EXPECT_NE(said().find("does not load"), std::string::npos) << said();
}

TEST_F(OboroQemuTest, AGuestThatMightRunWithoutKvmIsNotStarted) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"-m", "1G"},
                                             {"-accel", "tcg"},
                                             {"-accel", "tcg", "-accel", "kvm"},
                                             {"-accel", "kvm", "-accel", "tcg"},
                                             {"-machine", "accel=kvm:tcg"},
                                             {"-enable-kvm", "-machine", "pc,accel=tcg"},
                                             {"-accel", "kvm", "-readconfig", "/dev/null"}}) {
    EXPECT_EQ(start(arguments), 1) << arguments[1];
    EXPECT_FALSE(was_started()) << arguments[1];
    EXPECT_NE(said().find("without KVM"), std::string::npos) << said();
  }
}

}  // namespace
}  // namespace oboro
