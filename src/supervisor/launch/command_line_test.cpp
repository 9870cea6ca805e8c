#include <algorithm>
#include <gtest/gtest.h>

#include "supervisor/launch/machine.h"

namespace oboro::supervisor {
namespace {

using Words = std::vector<std::string>;

bool has(const Words& words, const Words& wanted) {
  return std::search(words.begin(), words.end(), wanted.begin(), wanted.end()) != words.end();
}

TEST(CommandLine, IsInASandboxAsItsArgumentsSay) {
  EXPECT_TRUE(is_sandboxed({"-m", "1G"}, true));
  EXPECT_FALSE(is_sandboxed({"-m", "1G"}, false));
  EXPECT_TRUE(is_sandboxed({"-sandbox", "on"}, false));
  EXPECT_TRUE(is_sandboxed({"--sandbox", "on,spawn=deny"}, false));
  EXPECT_FALSE(is_sandboxed({"-sandbox", "off"}, true));
  EXPECT_TRUE(is_sandboxed({"-sandbox", "on", "-sandbox", "off"}, false));
  EXPECT_TRUE(is_sandboxed({"-sandbox", "off", "-sandbox", "on"}, false));
  EXPECT_TRUE(is_sandboxed({"-sandbox"}, true)) << "QEMU refuses that";
}

TEST(CommandLine, TakesAUserUnlessItsArgumentsSayOtherwise) {
  const auto takes = [](Words further) {
    MachineOptions machine;
    machine.further = std::move(further);
    return takes_a_user(machine);
  };
  EXPECT_TRUE(takes({}));
  EXPECT_TRUE(takes({"-run-with", "async-teardown=on"}));
  EXPECT_TRUE(takes({"-name", "user=x"}));
  EXPECT_FALSE(takes({"-runas", "nobody"}));
  EXPECT_FALSE(takes({"-run-with", "user=nobody"}));
  EXPECT_FALSE(takes({"--run-with", "async-teardown=on,user=nobody"}));
  EXPECT_FALSE(takes({"-sandbox", "off"}));
}

TEST(CommandLine, MayOnlyChangeItsUserIfThatIsWhatItDoes) {
  const auto command = [](const Words& user, Words further = {}) {
    MachineOptions machine;
    machine.engine = Engine::tcg;
    machine.further = std::move(further);
    return qemu_command(machine, {}, {"plugin.so", "preload.so"}, {}, user, false).words;
  };
  const auto sandbox = [](const char* change) {
    return Words{"-sandbox",
                 std::string("on,obsolete=deny,elevateprivileges=") + change + ",spawn=deny,resourcecontrol=deny"};
  };
  EXPECT_TRUE(has(command({}), sandbox("deny")));
  EXPECT_FALSE(has(command({}), {"-run-with"}));
  EXPECT_TRUE(has(command({"-run-with", "user=5:5"}), sandbox("allow")));
  EXPECT_TRUE(has(command({"-run-with", "user=5:5"}), {"-run-with", "user=5:5"}));
  EXPECT_TRUE(has(command({}, {"-runas", "nobody"}), sandbox("allow")));
  EXPECT_FALSE(has(command({}, {"-sandbox", "off"}), sandbox("deny")));
}

}  // namespace
}  // namespace oboro::supervisor
