// Labels, and hidden files and sockets: the tracer follows what a hidden service does with classified data.
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <netinet/in.h>

#include "hiding/service/hider_test.h"

namespace oboro::hiding {
namespace {

using event::Kind;
using labels::Carrier;
using labels::CarrierKind;

class FlowsTest : public HiderTest {
 protected:
  void SetUp() override {
    HiderTest::SetUp();
    guest->reporter.keeps = true;
  }
  uint64_t labels(uint32_t tgid = 100) const { return guest->state.labels(Carrier(CarrierKind::process, tgid)); }
  void set_labels(uint64_t labels) {
    guest->state.erase(Carrier(CarrierKind::process, 100));
    if (labels) guest->state.add(labels, Carrier(CarrierKind::process, 100));
  }
  void write_file(std::string_view path) {
    const int64_t fd = open_file(path);
    ASSERT_GE(fd, 0) << path;
    EXPECT_EQ(guest->answer(sys::write, {static_cast<uint64_t>(fd), guest->put("plan"), 4}), 4);
    EXPECT_EQ(guest->answer(sys::close, {static_cast<uint64_t>(fd)}), 0);
  }
  // The labels that a process without labels gets by reading the file.
  uint64_t labels_by_reading(std::string_view path) {
    set_labels(0);
    const int64_t fd = open_file(path, O_RDONLY);
    EXPECT_GE(fd, 0) << path;
    EXPECT_GE(guest->answer(sys::read, {static_cast<uint64_t>(fd), FakeDispatch::kUser, 100}), 0);
    EXPECT_EQ(guest->answer(sys::close, {static_cast<uint64_t>(fd)}), 0);
    return labels();
  }
  int64_t send_to(const char* address) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9);
    inet_pton(AF_INET, address, &to.sin_addr);
    std::memcpy(guest->user.data() + 100, &to, sizeof to);
    return guest->answer(sys::sendto, {0, guest->put("plan"), 4, MSG_DONTWAIT, FakeDispatch::kUser + 100, sizeof to});
  }
};

TEST_P(FlowsTest, AFileTakesLabelsAndGivesThem) {
  set_labels(2);
  write_file("/var/secret/a");
  EXPECT_EQ(labels_by_reading("/var/secret/a"), 2u);
  EXPECT_EQ(guest->reporter.count(Kind::diffusion), 2u);
  write_file("/var/secret/b");
  set_labels(0);
  write_file("/var/secret/c");
  EXPECT_EQ(labels_by_reading("/var/secret/c"), 0u);
}

TEST_P(FlowsTest, LabelsGoWithTheFileAndNotWithItsName) {
  set_labels(1);
  write_file("/var/secret/a.tmp");
  set_labels(0);
  ASSERT_EQ(guest->answer(sys::rename, {guest->put("/var/secret/a.tmp"), guest->put("/var/secret/a", 200)}), 0);
  EXPECT_EQ(labels_by_reading("/var/secret/a"), 1u);
  set_labels(0);
  ASSERT_EQ(guest->answer(sys::link, {guest->put("/var/secret/a"), guest->put("/var/secret/b", 200)}), 0);
  EXPECT_EQ(labels_by_reading("/var/secret/b"), 1u);
  set_labels(0);
  ASSERT_EQ(guest->answer(sys::symlink, {guest->put("b"), guest->put("/var/secret/c", 200)}), 0);
  EXPECT_EQ(labels_by_reading("/var/secret/c"), 1u);
  set_labels(0);
  write_file("/var/secret/a.tmp");
  EXPECT_EQ(labels_by_reading("/var/secret/a.tmp"), 0u) << "another file, by a name that was managed";
}

// Files tell the time of their birth by the kernel's tick.
void await_tick() {
  timespec before{}, now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &before);
  do {
    usleep(1000);
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
  } while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

TEST_P(FlowsTest, AFileMadeAnewIsClean) {
  for (int i = 0; i < 20; ++i) {  // one of them gets the inode of the one before
    set_labels(1);
    write_file("/var/secret/a");
    await_tick();
    set_labels(0);
    ASSERT_EQ(guest->answer(sys::unlink, {guest->put("/var/secret/a")}), 0);
    write_file("/var/secret/a");
    ASSERT_EQ(labels_by_reading("/var/secret/a"), 0u) << i;
    ASSERT_EQ(guest->answer(sys::unlink, {guest->put("/var/secret/a")}), 0);
  }
}

TEST_P(FlowsTest, AClassifiedFileIsClassifiedWhereItIsHiddenToo) {
  ASSERT_TRUE(guest->patterns.add(*labels::Pattern::parse("/var/secret/plans/**"), 4));
  std::filesystem::create_directories(root + "/var/secret/plans/d");
  std::ofstream(root + "/var/secret/plans/a") << "plan";
  EXPECT_EQ(labels_by_reading("/var/secret/plans/a"), 4u);
  EXPECT_EQ(guest->reporter.count(Kind::classified, "/var/secret/plans/**"), 1u);
  EXPECT_EQ(labels_by_reading("/var/secret/plans/a"), 4u);
  EXPECT_EQ(guest->reporter.count(Kind::classified), 1u) << "it is known by now";
  // Never opened under this name.
  std::ofstream(root + "/var/secret/plans/b") << "plan";
  set_labels(0);
  ASSERT_EQ(guest->answer(sys::rename, {guest->put("/var/secret/plans/b"), guest->put("/var/secret/b", 200)}), 0);
  EXPECT_EQ(labels_by_reading("/var/secret/b"), 4u);
  EXPECT_EQ(guest->reporter.reasons, std::vector<std::string>());
  ASSERT_EQ(guest->answer(sys::rename, {guest->put("/var/secret/plans/d"), guest->put("/var/secret/d", 200)}), 0);
  EXPECT_EQ(guest->reporter.reasons.size(), 1u) << "who knows what is below";
}

TEST_P(FlowsTest, WhatIsSentOutsideIsALeak) {
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  (void)send_to("198.51.100.1");
  EXPECT_EQ(guest->reporter.count(Kind::leak), 0u);
  set_labels(1);
  EXPECT_NE(send_to("198.51.100.1"), -EPERM);
  EXPECT_EQ(guest->reporter.count(Kind::leak), 1u);
  EXPECT_EQ(guest->reporter.kept.back().object.remote.address, "198.51.100.1");
  guest->environment.policy.leak = policy::Verdict::deny;
  EXPECT_EQ(send_to("198.51.100.2"), -EPERM);
  EXPECT_EQ(guest->reporter.count(Kind::leak), 2u);
  EXPECT_EQ(guest->answer(sys::write, {0, guest->put("plan"), 4}), -EPERM);
}

TEST_P(FlowsTest, NothingIsSentOnceSendsAreRefused) {
  ASSERT_EQ(guest->answer(sys::socket, {AF_INET, SOCK_DGRAM, 0}), 0);
  EXPECT_NE(send_to("198.51.100.1"), -EPERM);
  guest->environment.policy.leak = policy::Verdict::deny;
  guest->state.refuse_sends("labels were lost");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(send_to("198.51.100.1"), -EPERM);
  EXPECT_EQ(guest->reporter.count(Kind::refused, "because the result is incomplete: labels were lost"), 1u);
  EXPECT_EQ(guest->reporter.kept.back().object.remote.address, "198.51.100.1");
  EXPECT_EQ(guest->reporter.count(Kind::leak), 0u);
}

// A thread that waits in the middle of a long write sends data that another thread has read meanwhile.
TEST_P(FlowsTest, EachPieceOfALongWriteIsLookedAt) {
  guest->user_in_ram = false;
  ASSERT_EQ(open_file("/var/secret/a"), 0);
  std::memset(guest->user.data(), 'x', guest->user.size());
  std::array<uint64_t, 4> parts{FakeDispatch::kUser + 100, 900000, FakeDispatch::kUser + 100, 900000};
  std::memcpy(guest->user.data(), parts.data(), sizeof parts);
  bool once = false;
  guest->instead = [&](const engine::Call& to) -> std::optional<uint64_t> {
    const bool last = to.function == guest->guest.symbol(Symbol::call_copy_from_user) &&
                      to.arguments[1] > FakeDispatch::kUser + 800000;
    if (last && !std::exchange(once, true)) set_labels(1);
    return std::nullopt;
  };
  EXPECT_EQ(guest->answer(sys::writev, {0, FakeDispatch::kUser, 2}), 1800000);
  guest->instead = nullptr;
  EXPECT_EQ(labels_by_reading("/var/secret/a"), 1u);
}

INSTANTIATE_TEST_SUITE_P(Waits, FlowsTest, testing::Values(Wait::park), wait_name);

}  // namespace
}  // namespace oboro::hiding
