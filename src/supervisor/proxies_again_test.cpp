// A proxy that has ended is started again, with limits. QEMU and the proxy are scripts, and this test is the tracer.
#include <algorithm>
#include <sstream>

#include "supervisor/guest_test.h"
#include "supervisor/launch/restart_limit.h"

namespace oboro::supervisor {
namespace {

class ProxiesAgainTest : public GuestTest {
 protected:
  void SetUp() override {
    GuestTest::SetUp();
    options.hidden.resize(1);
    options.hidden[0].name = "log";
    options.hidden[0].files = {"/secure/**"};
    options.proxy.program = directory.path() + "/proxy";
  }
  size_t starts() const {
    const std::string all = file("starts");
    return static_cast<size_t>(std::count(all.begin(), all.end(), '\n'));
  }
  bool journal_has(const std::string& text) const { return file("state/events.jsonl").find(text) != std::string::npos; }
  size_t journal_lines(const std::string& text) const {
    std::istringstream lines(file("state/events.jsonl"));
    size_t count = 0;
    for (std::string line; std::getline(lines, line);) count += line.find(text) != std::string::npos;
    return count;
  }
  void answer_new_proxy(const link::Body& body = link::Done{}) {
    const link::Message told = command();
    ASSERT_TRUE(told.as<link::NewProxy>());
    EXPECT_EQ(told.as<link::NewProxy>()->service, 0u);
    EXPECT_EQ(told.fds.size(), 4u);
    ASSERT_TRUE(link::send(commands.get(), body, told.request));
  }
  void ends() {
    guest->end();
    turn_until_over();
    EXPECT_TRUE(guest->ending());
  }
  // Ends once "dies" exists, which it removes.
  static constexpr char kDies[] =
      "echo >> \"$OUT/starts\"; until [ -e \"$OUT/dies\" ]; do sleep 0.05; done; rm \"$OUT/dies\"; kill -";
};

TEST_F(ProxiesAgainTest, TheTracerGetsTheNewOne) {
  script("proxy", std::string(kDies) + "9 $$");
  start();
  turn_until([this] { return starts() == 1; });
  for (size_t i = 1; i <= 2; ++i) {
    directory.write("dies", "");
    answer_new_proxy();
    turn_until([this, i] {
      return journal_has("the proxy of hidden service log runs again (" + std::to_string(i) + " of at most 5 starts");
    });
    turn_until([this, i] { return starts() == i + 1; });
  }
  EXPECT_TRUE(
      journal_has("the proxy of hidden service log has ended by signal 9: what it has open fails from here on"));
  ends();
}

TEST_F(ProxiesAgainTest, TheOthersGoOn) {
  options.hidden.push_back(options.hidden[0]);
  options.hidden[1].name = "mail";
  // One of the two dies, whichever comes first, and the one that takes its place.
  script("proxy",
         "mkdir \"$OUT/one\" 2>/dev/null || while :; do sleep 0.05; done; echo >> \"$OUT/starts\"; "
         "until [ -e \"$OUT/dies\" ]; do sleep 0.05; done; rm \"$OUT/dies\"; rmdir \"$OUT/one\"; kill -9 $$");
  start();
  turn_until([this] { return starts() == 1; });
  for (size_t i = 1; i <= 2; ++i) {
    directory.write("dies", "");
    const link::Message told = command();
    ASSERT_TRUE(told.as<link::NewProxy>());
    ASSERT_TRUE(link::send(commands.get(), link::Done{}, told.request));
    turn_until([this, i] { return journal_has("runs again (" + std::to_string(i) + " of at most 5 starts"); });
    turn_until([this, i] { return starts() == i + 1; });
  }
  ends();
}

TEST_F(ProxiesAgainTest, NotForEver) {
  script("proxy", "echo >> \"$OUT/starts\"; kill -9 $$");
  start();
  for (size_t i = 0; i < RestartLimit::kMost; ++i) answer_new_proxy();
  turn_until([this] { return journal_has("after 5 starts in 10 minutes it is not started again"); });
  EXPECT_EQ(starts(), 1 + RestartLimit::kMost);
  for (int i = 0; i < 5; ++i) turn();
  EXPECT_FALSE(link::receive(commands.get(), 0));
  ends();
}

TEST_F(ProxiesAgainTest, NotIfItMayHaveBeenTakenOver) {
  script("proxy", std::string(kDies) + "SYS $$");
  start();
  directory.write("dies", "");
  turn_until([this] {
    return journal_has("so somebody may have taken it over: it is not started again, and its calls fail from here on");
  });
  for (int i = 0; i < 5; ++i) turn();
  EXPECT_FALSE(link::receive(commands.get(), 0));
  EXPECT_EQ(starts(), 1u);
  ends();
}

TEST_F(ProxiesAgainTest, NotIfTheTracerWillNotHaveIt) {
  script("proxy", std::string(kDies) + "9 $$");
  start();
  directory.write("dies", "");
  answer_new_proxy(link::Failed{"it told lies"});
  turn_until([this] { return journal_has("is not used again, and its calls fail from here on: it told lies"); });
  directory.write("dies", "");
  for (int i = 0; i < 10; ++i) turn();
  EXPECT_EQ(journal_lines("has ended by signal 9"), 1u) << "it was ended here, and nobody has to hear of that";
  ends();
}

TEST(RestartLimit, SoManyInSuchATimeAndThenNeverMore) {
  RestartLimit limit;
  RestartLimit::Time now{};
  const auto step = RestartLimit::kWithin / RestartLimit::kMost;
  for (int i = 0; i < 20; ++i, now += step) ASSERT_TRUE(limit.take(now)) << i;
  EXPECT_EQ(limit.within(now), RestartLimit::kMost - 1);
  EXPECT_TRUE(limit.take(now));
  EXPECT_FALSE(limit.take(now));
  EXPECT_FALSE(limit.take(now + 10 * RestartLimit::kWithin)) << "it stays so";
}

}  // namespace
}  // namespace oboro::supervisor
