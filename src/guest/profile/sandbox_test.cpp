#include "guest/profile/sandbox.h"

#include <chrono>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "guest/profile/build.h"
#include "tests/support/guest/fake_kernel.h"

namespace oboro::guest {
namespace {

using testing::FakeKernel;
using testing::KallsymsLayout;

UniqueFd memory_file(const std::vector<std::byte>& image) {
  UniqueFd fd(memfd_create("image", MFD_CLOEXEC));
  EXPECT_EQ(write(fd.get(), image.data(), image.size()), static_cast<ssize_t>(image.size()));
  return fd;
}

// A program that stands in for the builder, as a guest could have taken it over.
class Script {
 public:
  explicit Script(const std::string& text) {
    std::string name = (std::filesystem::temp_directory_path() / "oboro-builder-XXXXXX").string();
    const UniqueFd made(mkstemp(name.data()));
    path_ = name;
    std::ofstream(path_) << "#!/bin/sh\n" << text << "\n";
    chmod(path_.c_str(), 0700);
  }
  ~Script() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A whole build, for a caller that has nothing else to do.
Result<Profile> build(int image, Gva base, const std::string& builder, int timeout_ms) {
  Result<ProfileBuild> work = ProfileBuild::start(image, base, builder, timeout_ms);
  if (!work) return work.error();
  for (;;) {
    pollfd something{work->poll_fd(), POLLIN, 0};
    EXPECT_EQ(poll(&something, 1, 60000), 1) << "it says when its time is over";
    if (auto result = work->proceed()) return std::move(*result);
  }
}

Error error_of(const std::string& script, int timeout_ms = 5000) {
  const Script builder(script);
  const UniqueFd image = memory_file(std::vector<std::byte>(4096));
  const auto profile = build(image.get(), Gva(0xffffffff80000000), builder.path(), timeout_ms);
  EXPECT_FALSE(profile);
  return profile ? Error{} : profile.error();
}

TEST(SandboxedBuild, AgreesWithTheBuilder) {
  const FakeKernel kernel = testing::make_fake_kernel(KallsymsLayout::since_7_0);
  const UniqueFd image = memory_file(kernel.image);
  const auto profile = build(image.get(), Gva(kernel.base), OBORO_PROFILE_PROGRAM, 20000);
  ASSERT_TRUE(profile) << profile.error().message;
  const auto direct = build_profile(kernel.image, Gva(kernel.base));
  ASSERT_TRUE(direct);
  EXPECT_EQ(profile->format(), direct->format());
}

TEST(SandboxedBuild, SaysWhyAKernelCannotBeTraced) {
  const UniqueFd image = memory_file(std::vector<std::byte>(1 << 20));
  const auto profile = build(image.get(), Gva(0xffffffff80000000), OBORO_PROFILE_PROGRAM, 20000);
  ASSERT_FALSE(profile);
  EXPECT_EQ(profile.error().code, Errc::unsupported);
  EXPECT_NE(profile.error().message.find("no kallsyms"), std::string::npos) << profile.error().message;
}

TEST(SandboxedBuild, DoesNotTrustTheBuilder) {
  EXPECT_EQ(error_of("exit 0").code, Errc::invalid);
  EXPECT_EQ(error_of("echo oboro-profile 1 0000000000000000").code, Errc::invalid);
  EXPECT_EQ(error_of("exit 1").code, Errc::internal);
  EXPECT_EQ(error_of("kill -SEGV $$").code, Errc::internal);
  EXPECT_EQ(error_of("kill -XCPU $$").code, Errc::limit);
  EXPECT_EQ(error_of("while :; do echo 0123456789012345678901234567890123456789; done", 20000).code, Errc::limit);
  EXPECT_EQ(error_of("while :; do echo 01234567890123456789012345678901 >&2; done", 20000).code, Errc::limit);
  const Error escape = error_of("printf 'a\\033[2Jb\\nsecond' >&2; exit 3");
  EXPECT_EQ(escape.code, Errc::unsupported);
  EXPECT_EQ(escape.message, "a?[2Jb");
}

TEST(SandboxedBuild, EndsInTime) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(error_of("exec sleep 60", 200).code, Errc::limit);
  EXPECT_EQ(error_of("exec >&- 2>&-; exec sleep 60", 200).code, Errc::limit);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(SandboxedBuild, NeverWaitsAndSleepsWhileThereIsNothingToDo) {
  // The builder's output ends before the builder does, and the other way round.
  for (const char* script : {"exec >&- 2>&-; exec sleep 60", "sleep 5 & exit 0"}) {
    const Script builder(script);
    const UniqueFd image = memory_file(std::vector<std::byte>(4096));
    Result<ProfileBuild> work = ProfileBuild::start(image.get(), Gva(0), builder.path(), 600000);
    ASSERT_TRUE(work) << work.error().message;
    pollfd something{work->poll_fd(), POLLIN, 0};
    for (int turns = 0; poll(&something, 1, 1000) == 1; ++turns) {
      ASSERT_FALSE(work->proceed()) << script;
      ASSERT_LT(turns, 100) << script << ": what has been seen is seen again and again";
    }
  }
}

TEST(SandboxedBuild, PassesNothingOn) {
  // Environment: a shell adds PWD and the like by itself. Descriptors: 3 is the image, and sh may hold its script open.
  setenv("OBORO_SECRET", "1", 1);
  const UniqueFd null(open("/dev/null", O_RDONLY));
  const UniqueFd leak(fcntl(null.get(), F_DUPFD, 30));  // not close-on-exec
  EXPECT_EQ(error_of("[ -z \"$OBORO_SECRET\" ] && [ ! -e /proc/self/fd/" + std::to_string(leak.get()) +
                     " ] && [ -e /proc/self/fd/3 ] && exit 3; exit 1")
                .code,
            Errc::unsupported);
}

TEST(SandboxedBuild, NeedsABuilderAndAnImage) {
  const UniqueFd image = memory_file(std::vector<std::byte>(4096));
  EXPECT_EQ(build(image.get(), Gva(0), "/nonexistent/builder", 1000).error().code, Errc::io);
  EXPECT_EQ(build(-1, Gva(0), OBORO_PROFILE_PROGRAM, 1000).error().code, Errc::io);
}

}  // namespace
}  // namespace oboro::guest
