// A guest whose tracing cannot be vouched for, and a guest whose proxy does not come.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <signal.h>
#include <sys/resource.h>

#include "event/codec.h"
#include "stream/recorder.h"
#include "supervisor/guest_test.h"

namespace oboro::supervisor {
namespace {

// The state of a process, as /proc has it.
char state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t end = text.rfind(')');
  return end == std::string::npos || end + 2 >= text.size() ? '?' : text[end + 2];
}

TEST_F(GuestTest, InDoubtItStandsStillUntilAnOperatorSaysGoOn) {
  options.policy.on(policy::Trouble::incomplete) = policy::Reaction::pause;
  start(std::string("echo $$ > \"$OUT/qemu-pid\"; ") + kEndsWhenTold);
  say(link::Armed{"6.1.0", "0123", 35, true, 1500});
  turn_until([this] { return state() == "tracing"; });
  const pid_t qemu = atoi(file("qemu-pid").c_str());
  say(link::Doubt{"splice"});
  const auto paused = [&] { return store::read_status(options.state_dir)->paused; };
  turn_until([&] { return paused() == "splice" && state_of(qemu) == 'T'; });
  EXPECT_EQ(state(), "tracing");
  auto answer = asks("resume");
  const link::Message told = command();
  ASSERT_TRUE(told.as<link::GoOn>());
  EXPECT_EQ(told.as<link::GoOn>()->uid, getuid());
  ASSERT_TRUE(link::send(commands.get(), link::Done{}, told.request));
  EXPECT_EQ(answer_of(std::move(answer)), "ok");
  turn_until([&] { return state_of(qemu) != 'T'; });
  EXPECT_EQ(paused(), "");
  say(link::Doubt{"another"});
  turn_until([&] { return state_of(qemu) == 'T'; });
  guest->end();
  turn_until_over();
  EXPECT_EQ(file("told"), "told\n") << "one that stands still can be ended in order";
}

// Files cannot grow meanwhile, nor can the journal.
class NoRoom {
 public:
  NoRoom() {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit none = before_;
    none.rlim_cur = 1;
    setrlimit(RLIMIT_FSIZE, &none);
  }
  ~NoRoom() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(GuestTest, WhatCannotBeWrittenDownStopsItUntilItCan) {
  options.policy.on(policy::Trouble::journal) = policy::Reaction::pause;
  start(std::string("echo $$ > \"$OUT/qemu-pid\"; ") + kEndsWhenTold);
  const pid_t qemu = atoi(file("qemu-pid").c_str());
  Result<stream::RingWriter> ring = stream::RingWriter::open(stream::ring_path(options.state_dir));
  ASSERT_TRUE(ring);
  {
    const NoRoom now;
    event::Event event;
    event.set(event::Reset{"reset"});
    event.seq = 2;
    std::vector<std::byte> record;
    event::encode(event, record);
    ASSERT_TRUE(ring->push(record));
    EXPECT_FALSE(command().as<link::Journal>()->available);
    turn_until([&] { return state_of(qemu) == 'T'; });
  }
  EXPECT_TRUE(command().as<link::Journal>()->available);
  turn_until([&] { return state_of(qemu) != 'T'; });
  EXPECT_NE(file("state/events.jsonl").find("\"reset\""), std::string::npos);
  guest->end();
  turn_until_over();
}

// On KVM the tracer stops the machine.
class KvmGuestTest : public GuestTest {
 protected:
  void stand_still() {
    options.machine.engine = Engine::kvm;
    start();
    say(link::Doubt{"splice"});
    told = command();
    ASSERT_TRUE(told.as<link::Pause>());
    ASSERT_TRUE(link::send(commands.get(), link::Done{}, told.request));
  }
  link::Message told;
};

TEST_F(KvmGuestTest, OneThatIsLetGoStandsStillNoMore) {
  stand_still();
  auto answer = asks("detach");
  ASSERT_TRUE(command().as<link::Resume>());
  told = command();
  ASSERT_TRUE(told.as<link::Detach>());
  EXPECT_EQ(told.as<link::Detach>()->uid, getuid());
  ASSERT_TRUE(link::send(commands.get(), link::Done{}, told.request));
  EXPECT_EQ(answer_of(std::move(answer)), "ok");
  guest->end();
  turn_until_over();
}

TEST_F(KvmGuestTest, ItGoesOnWhenAnOperatorSaysSo) {
  stand_still();
  auto answer = asks("resume");
  told = command();
  ASSERT_TRUE(told.as<link::Resume>());
  told = command();
  ASSERT_TRUE(told.as<link::GoOn>());
  ASSERT_TRUE(link::send(commands.get(), link::Done{}, told.request));
  EXPECT_EQ(answer_of(std::move(answer)), "ok");
  guest->end();
  turn_until_over();
}

// A guest with a proxy in a machine, whose QEMU and relay are scripts.
class GuestWithAProxyMachine : public GuestTest {
 protected:
  void SetUp() override {
    GuestTest::SetUp();
    std::string kernel(0x1000, '\0');
    kernel.replace(0x202, 4, "HdrS");
    kernel[0x20f] = '\x04';
    kernel.replace(0x600, 4, "6.1 ");
    directory.write("kernel", kernel);
    std::filesystem::create_directories(directory.path() + "/state/hidden");
    chmod((directory.path() + "/state").c_str(), 0700);
    directory.write("state/hidden/log.ext4", "");
    directory.write("modules.dep", "");
    directory.write("modules.builtin", "a/virtio_pci.ko\na/virtio_console.ko\na/virtio_blk.ko\na/ext4.ko\n");
    script("machine", "while [ ! -e \"$OUT/machine-ends\" ]; do sleep 0.05; done");
    options.hidden.resize(1);
    options.hidden[0].name = "log";
    options.hidden[0].files = {"/secure/**"};
    options.proxy.program = directory.path() + "/relay";
    options.proxy.machine = {directory.path() + "/kernel", directory.path(), directory.path() + "/machine"};
  }
  // Says that the machine is there once "there" exists, and ends once "relay-ends" exists.
  static constexpr char kRelay[] =
      "while [ \"$1\" != --ready ]; do shift; done\n"
      "until [ -e \"$OUT/there\" ] || [ -e \"$OUT/relay-ends\" ]; do sleep 0.05; done\n"
      "[ -e \"$OUT/there\" ] && echo > /proc/self/fd/$2\n"
      "until [ -e \"$OUT/relay-ends\" ]; do sleep 0.05; done";
};

TEST_F(GuestWithAProxyMachine, TheGuestDoesNotWaitForIt) {
  script("relay", kRelay);
  start();
  EXPECT_EQ(ask("status"), "booting");
  directory.write("there", "");
  directory.write("machine-ends", "");
  directory.write("relay-ends", "");
  turn_until([this] {
    return file("state/events.jsonl").find("the proxy of hidden service log has ended with its machine") !=
           std::string::npos;
  });
  EXPECT_EQ(ask("status"), "booting");
  EXPECT_EQ(overs, 0);
  guest->end();
  turn_until_over();
  EXPECT_TRUE(guest->ending());
}

TEST_F(GuestWithAProxyMachine, TheRunEndsIfItDoesNotStart) {
  script("relay", kRelay);
  start();
  directory.write("machine-ends", "");
  directory.write("relay-ends", "");
  turn_until_over();
  EXPECT_EQ(file("told"), "told\n");
  ASSERT_FALSE(guest->ending());
  EXPECT_EQ(guest->ending().error().message, "hidden service log: the proxy's machine did not start");
  EXPECT_EQ(file("state/events.jsonl").find("has ended with"), std::string::npos);
}

}  // namespace
}  // namespace oboro::supervisor
