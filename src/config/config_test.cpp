#include "config/config.h"

#include <gtest/gtest.h>

#include "base/size.h"

namespace oboro::config {
namespace {

TEST(Config, Everything) {
  const auto config = parse(R"(
[[classify]]
pattern = "/srv/secret/**"
label = "plan"
[[classify]]
pattern = "/etc/shadow"
[policy]
leak = "deny"
[safety]
on_supervisor_loss = "kill"
on_journal_unavailable = "pause"
on_full_table = "report"
[journal]
segment = "1M"
retention = "90d"
max_rate = "1M"
max_events = 500
heads = "/mnt/heads"
heads_command = ["/usr/bin/logger", "-t", "oboro"]
[run]
memory = "2G"
cpus = 2
vm = "demo"
disks = ["a.qcow2", "b,format=raw"]
append = "console=ttyS0"
)",
                            "f");
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->classify.size(), 2u);
  EXPECT_EQ(config->classify[0].label, "plan");
  EXPECT_EQ(config->classify[1].label, "classified");
  EXPECT_EQ(config->policy.leak, policy::Verdict::deny);
  EXPECT_EQ(config->policy.reaction(policy::Trouble::supervisor_loss), policy::Reaction::kill);
  EXPECT_EQ(config->policy.reaction(policy::Trouble::journal), policy::Reaction::pause);
  EXPECT_EQ(config->policy.reaction(policy::Trouble::full_table), policy::Reaction::report);
  EXPECT_EQ(config->journal.segment, 1u << 20);
  EXPECT_EQ(config->journal.age_s, 90u * 86400);
  EXPECT_FALSE(config->journal.size);
  EXPECT_EQ(config->journal.max_rate, 1u << 20);
  EXPECT_EQ(config->journal.max_events, 500u);
  EXPECT_EQ(config->journal.heads, "/mnt/heads");
  EXPECT_EQ(config->journal.heads_command, (std::vector<std::string>{"/usr/bin/logger", "-t", "oboro"}));
  EXPECT_EQ(config->journal.heads_every_s, 60u);
  EXPECT_EQ(config->memory, uint64_t{2} << 30);
  EXPECT_EQ(config->cpus, 2u);
  EXPECT_EQ(config->vm, "demo");
  ASSERT_EQ(config->disks.size(), 2u);
  EXPECT_EQ(config->disks[1].images[0].file, "b");
  EXPECT_EQ(config->disks[1].images[0].format, disk::Format::raw);
  EXPECT_FALSE(config->kernel);
  EXPECT_TRUE(parse("", "f")->classify.empty());
  // A reaction that is not given follows from `leak`, which the command line may still change.
  for (const auto trouble : {policy::Trouble::incomplete, policy::Trouble::supervisor_loss}) {
    EXPECT_EQ(parse("", "f")->policy.reaction(trouble), policy::Reaction::report);
    EXPECT_EQ(parse("[policy]\nleak = 'deny'", "f")->policy.reaction(trouble), policy::Reaction::deny);
  }
}

TEST(Config, ErrorsSayWhere) {
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {"x = 1", "f:1:1: unknown key \"x\""},
           {"[run]\n  cpu = 2", "f:2:3: unknown key \"cpu\" in [run]"},
           {"[[classify]]\npatern = '/a'", "f:2:1: unknown key \"patern\""},
           {"[[classify]]\nlabel = 'a'", "f:1:1: [[classify]] without"},
           {"[[classify]]\npattern = 'a'", "f:2:11: pattern \"a\": does not begin"},
           {"[[classify]]\npattern = '/a'\nlabel = 'a b'", "f:3:9: \"a b\" is not a label"},
           {"classify = 1", "not a list"},
           {"classify = [1]", "f:1:13: [[classify]] is not a table"},
           {"policy = 1", "[policy] is not a table"},
           {"[policy]\nleak = 'ask'", "f:2:8: \"leak\" is neither"},
           {"[policy]\nleak = 1", "not a string"},
           {"[safety]\non_incomplete = 'kill'", "f:2:17: \"on_incomplete\" is neither"},
           {"[safety]\non_supervisor_loss = 'ignore'", "f:2:22: \"on_supervisor_loss\" is neither"},
           {"[safety]\non_incomplete = 'kill'", "f:2:17: \"on_incomplete\" is neither"},
           {"[safety]\non_supervisor_los = 'kill'", "f:2:1: unknown key \"on_supervisor_los\" in [safety]"},
           {"safety = 'kill'", "[safety] is not a table"},
           {"[journal]\nsegment = '1K'", "f:2:11: \"segment\" is less than 1M"},
           {"[journal]\nmax_size = 10", "f:2:12: \"max_size\" is not a string"},
           {"[journal]\nmax_rate = '1K'", "f:2:12: \"max_rate\" is less than 64K"},
           {"[journal]\nmax_events = 99", "f:2:14: \"max_events\" is not a number from 100 to 1000000000"},
           {"[journal]\nmax_events = '1000'", "\"max_events\" is not a number"},
           {"[journal]\nretention = '90'", "f:2:13: \"90\" is not a time such as 45s"},
           {"[journal]\nretention = '99999999999999999d'", "is not a time such as"},
           {"[journal]\nheads_every = '0s'", "f:2:15: \"heads_every\" is 0"},
           {"[journal]\nheads = 'heads'", "f:2:9: \"heads\" is not a path from the root"},
           {"[journal]\nheads_command = []", "\"heads_command\" is not a list of words"},
           {"[journal]\nheads_command = ['logger']", "\"heads_command\" does not begin with the path of a program"},
           {"[journal]\nretain = '90d'", "f:2:1: unknown key \"retain\" in [journal]"},
           {"[run]\nmemory = '1X'", "not a size"},
           {"[run]\ncpus = 0", "from 1"},
           {"[run]\ncpus = '2'", "from 1"},
           {"[run]\ndisks = [1]", "not a string"},
           {"[run]\ndisks = ['a', 'b,c']", "f:2:15: disk \"b,c\": \"c\" is not known"},
           {"[run]\nvm = ''", "is empty"},
           {"[run\n", "f:1:5:"},
           {"[= \"x\"]", "f:1:2:"},
           {"a = " + std::string(100'000, '['), "f:1:"},
           {std::string(kMaxFile + 1, ' '), "larger than"},
           {"a = \"\xff\"", "f:1:"}}) {
    const auto config = parse(text, "f");
    ASSERT_FALSE(config) << text.substr(0, 100);
    EXPECT_NE(config.error().message.find(expected), std::string::npos) << config.error().message;
  }
  EXPECT_EQ(load("/nonexistent/x").error().code, Errc::not_found);
  EXPECT_NE(load("/").error().message.find("/: "), std::string::npos);
}

TEST(Config, HiddenServices) {
  const auto config = parse(R"([hide.logger]
exe = "/usr/sbin/rsyslogd"
files = ["/var/log/secure/**", "/etc/x"]
network = "remote"
to = ["203.0.113.0/24:6514/tcp", "log.example.org:443-450/tcp", "[2001:db8::/32]:53/udp", "0.0.0.0/0:53/udp"]
listen = [514, 6514]
children = true
max_memory = "1G"
max_files = 200
max_disk = "2G"
[hide.agent]
unit = "agent.service"
files = ["/a"]
network = "none")",
                            "f");
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->hide.size(), 2u);
  const link::HiddenService& agent = config->hide[0].name == "agent" ? config->hide[0] : config->hide[1];
  const link::HiddenService& logger = config->hide[0].name == "agent" ? config->hide[1] : config->hide[0];
  EXPECT_EQ(logger.exe, "/usr/sbin/rsyslogd");
  EXPECT_EQ(logger.files, (std::vector<std::string>{"/var/log/secure/**", "/etc/x"}));
  EXPECT_EQ(logger.listen, (std::vector<uint16_t>{514, 6514}));
  EXPECT_EQ(logger.to, (std::vector<std::string>{"203.0.113.0/24:6514/tcp", "log.example.org:443-450/tcp",
                                                 "[2001:db8::/32]:53/udp", "0.0.0.0/0:53/udp"}));
  EXPECT_FALSE(agent.to);
  EXPECT_TRUE(logger.network);
  EXPECT_TRUE(logger.children);
  EXPECT_EQ(logger.max_memory, uint64_t{1} << 30);
  EXPECT_EQ(logger.max_files, 200u);
  EXPECT_EQ(logger.max_disk, uint64_t{2} << 30);
  EXPECT_FALSE(agent.max_memory || agent.max_files || agent.max_disk);
  EXPECT_EQ(agent.unit, "agent.service");
  EXPECT_FALSE(agent.network);
  EXPECT_FALSE(agent.children);
}

TEST(Config, HiddenServicesThatCannotBe) {
  for (const auto& [text, expected] : std::initializer_list<std::pair<std::string, std::string>>{
           {"hide = 1", "not a table"},
           {"hide.x = 1", "[hide.x] is not a table"},
           {"[hide.x]\nfiles = ['/a']", "neither \"exe\" nor \"unit\""},
           {"[hide.x]\nexe = '/a'", "hides nothing"},
           {"[hide.x]\nexe = 'a'\nfiles = ['/a']", "f:2:7: \"exe\" is not an absolute path"},
           {"[hide.x]\nexe = '/a'\nfiles = '/a'", "\"files\" is not a list"},
           {"[hide.x]\nexe = '/a'\nfiles = ['a']", "does not begin"},
           {"[hide.x]\nexe = '/a'\nnetwork = 'all'", "\"network\" is neither"},
           {"[hide.x]\nexe = '/a'\nfiles = ['/a']\nlisten = [1]", "needs network"},
           {"[hide.x]\nexe = '/a'\nnetwork = 'remote'\nlisten = [0]", "no port number"},
           {"[hide.x]\nexe = '/a'\nfiles = ['/a']\nto = []", "f:1:1: [hide.x]: \"to\" needs network"},
           {"[hide.x]\nexe = '/a'\nnetwork = 'none'\nfiles = ['/a']\nto = ['203.0.113.7:1/tcp']",
            "\"to\" needs network"},
           {"[hide.x]\nexe = '/a'\nnetwork = 'remote'\nto = '203.0.113.7:1/tcp'", "f:4:6: \"to\" is not a list"},
           {"[hide.x]\nexe = '/a'\nnetwork = 'remote'\nto = ['203.0.113.7:1/tcp', 443]",
            "f:4:28: \"to\" is not a string"},
           {"[hide.x]\nexe = '/a'\nnetwork = 'remote'\nto = ['203.0.113.7:1/tcp', '203.0.113.0/33:1/tcp']",
            "f:4:28: \"to\": \"203.0.113.0/33:1/tcp\": \"33\" is no number of bits from 0 to 32 (expected as in"},
           {"[hide.x]\nexe = '/a'\nnetwork = 'remote'\nto = ['169.254.169.254:80/tcp']",
            "f:4:7: \"to\": \"169.254.169.254:80/tcp\" is never reached: link-local, and clouds' metadata"},
           {"[hide.x]\nexe = '/a'\nnetwork = 'remote'\nto = ['[::1]:80/tcp']",
            "\"[::1]:80/tcp\" is never reached: loopback or"},
           {"[hide.x]\nexe = '/a'\nfiles = ['/a']\nchildren = 1", "not true or false"},
           {"[hide.x]\nexe = '/a'\nfiles = ['/a']\nmax_memory = 1", "\"max_memory\" is not a string"},
           {"[hide.x]\nexe = '/a'\nfiles = ['/a']\nmax_memory = '63M'", "f:4:14: \"max_memory\" is less than 64M"},
           {"[hide.x]\nexe = '/a'\nfiles = ['/a']\nmax_disk = '1023K'", "f:4:12: \"max_disk\" is less than 1M"},
           {"[hide.x]\nexe = '/a'\nfiles = ['/a']\nmax_files = 0", "\"max_files\" is not a number"},
           {"[hide.x]\nexe = '/a'\nfile = ['/a']", "unknown key \"file\""},
           {"[hide.'../x']\nexe = '/a'\nfiles = ['/a']", "no name for a service"},
           {"[hide.'.x']\nexe = '/a'\nfiles = ['/a']", "no name for a service"}}) {
    const auto config = parse(text, "f");
    ASSERT_FALSE(config) << text;
    EXPECT_NE(config.error().message.find(expected), std::string::npos) << config.error().message;
  }
}

TEST(Size, Units) {
  EXPECT_EQ(*parse_size("0"), 0u);
  EXPECT_EQ(*parse_size("17"), 17u);
  EXPECT_EQ(*parse_size("2k"), 2048u);
  EXPECT_EQ(*parse_size("1G"), uint64_t{1} << 30);
  EXPECT_EQ(*parse_size("16777215T"), uint64_t{16777215} << 40);
  for (const char* bad : {"", "G", "-1", "1.5G", "1X", "1GB", "16777216T", "99999999999999999999", " 1"})
    EXPECT_FALSE(parse_size(bad)) << bad;
}

}  // namespace
}  // namespace oboro::config
