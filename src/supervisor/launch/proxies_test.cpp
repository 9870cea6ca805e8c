// Proxies that are scripts.
#include "supervisor/launch/proxies.h"

#include <gtest/gtest.h>
#include <optional>
#include <poll.h>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/store/testing.h"

namespace oboro::supervisor {
namespace {

class ProxiesTest : public testing::Test {
 protected:
  void SetUp() override {
    services.resize(1);
    services[0].name = "log";
    services[0].files = {"/secure/**"};
    place.program = directory.path() + "/proxy";
  }
  void script(const std::string& text) const {
    directory.write("proxy", "#!/bin/sh\nOUT=" + directory.path() + "\n" + text + "\n");
    chmod(place.program.c_str(), 0700);
  }
  Proxies prepared() {
    Result<Proxies> made = Proxies::prepare(services, directory.path(), place);
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : Proxies();
  }
  // Waits until one has ended.
  static auto end_of(Proxies& proxies) {
    for (const int fd : proxies.poll_fds()) {
      pollfd ended{fd, POLLIN, 0};
      EXPECT_EQ(poll(&ended, 1, 60000), 1);
    }
    return proxies.ended();
  }

  store::testing::TempDirectory directory;
  std::vector<link::HiddenService> services;
  ProxyPlace place;
};

// oboro-qemu becomes QEMU after it has prepared everything, and another process supervises that: the one that is to be
// told of a proxy's end.
TEST_F(ProxiesTest, WhoStartsThemIsToldHowTheyEnd) {
  script("kill -SYS $$");
  Proxies proxies = prepared();
  const pid_t supervisor = fork();
  ASSERT_GE(supervisor, 0);
  if (supervisor == 0) {
    const bool started = bool(proxies.start());
    const auto what = end_of(proxies);
    _exit(started && what && what->suspect ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(supervisor, &status, 0), supervisor);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(ProxiesTest, AProxyIsToldItsLimits) {
  services[0].max_disk = 3 << 20;
  services[0].max_files = 77;
  script("echo \"$*\" > \"$OUT/words\"");
  Proxies proxies = prepared();
  ASSERT_TRUE(proxies.start());
  EXPECT_TRUE(end_of(proxies));
  EXPECT_NE(directory.read("words").find("--max-disk 3145728 --max-files 77"), std::string::npos);
}

TEST(ProxyMachine, ItsDiskHoldsWhatItsFilesMayTake) {
  EXPECT_EQ(disk_size({}), kProxyDiskSize);
  for (const uint64_t most : {uint64_t{1} << 20, uint64_t{3} << 30, uint64_t{1} << 46}) {
    EXPECT_GT(disk_size(most), most + most / 20);
    EXPECT_LT(disk_size(most), most + most / 10 + (uint64_t{128} << 20));
  }
}

TEST_F(ProxiesTest, NothingRunsBeforeItIsStarted) {
  script("echo > \"$OUT/ran\"");
  Proxies proxies = prepared();
  EXPECT_EQ(proxies.tracer_fds().size(), 1u);
  EXPECT_TRUE(proxies.poll_fds().empty());
  EXPECT_TRUE(directory.read("ran").empty());
  ASSERT_TRUE(proxies.start());
  EXPECT_TRUE(end_of(proxies));
  EXPECT_EQ(directory.read("ran"), "\n");
}

}  // namespace
}  // namespace oboro::supervisor
