#include "tracer/tracer_test.h"

#include <algorithm>
#include <functional>
#include <sys/mman.h>
#include <sys/stat.h>

#include "event/detail.h"
#include "guest/profile/build.h"

namespace oboro::tracer {
namespace {

using guest::Field;

TEST_F(TracerTest, ArmsWithACachedProfile) {
  make();
  const auto armed = arm();
  ASSERT_TRUE(armed) << armed.error().message;
  EXPECT_EQ(armed->size(), hooks::hook_points().size());
  for (const engine::Hook& hook : *armed) {
    EXPECT_EQ(hook.address, guest.symbol(point_of(hook).function).value);
    EXPECT_FALSE(hook.may_steer);
  }
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].type(), link::Type::IdentifyKernel);
  tracer->armed();
  const auto told = events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].kind, Kind::armed);
  EXPECT_EQ(told[0].as<event::Armed>().release, "6.1.0-fake");
  EXPECT_TRUE(told[0].as<event::Armed>().cached);
  const Result<link::Message> status = link::receive(supervisor.get(), 1000);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->type(), link::Type::Armed);
  // The engine does not filter, so hooks that only a filter needs are not in.
  EXPECT_EQ(
      ring->counters().hooks_armed,
      static_cast<size_t>(std::count_if(armed->begin(), armed->end(), [](auto& hook) { return !hook.filter_only; })));
  EXPECT_LT(ring->counters().hooks_armed, armed->size());
}

TEST_F(TracerTest, FollowsAKernelThatStarts) {
  make();
  const Gva state = guest.symbol(guest::Symbol::system_state);
  EXPECT_EQ(tracer->progress(), Tracer::Progress::gone) << "nothing is known yet";
  answer({link::KernelProfile{true, guest.profile.format()}});
  ASSERT_TRUE(tracer->identify(vcpu));
  supervising.join();
  EXPECT_EQ(tracer->progress(), Tracer::Progress::booting);
  guest.write(state, uint32_t{1});
  EXPECT_EQ(tracer->progress(), Tracer::Progress::initialised);
  ASSERT_TRUE(tracer->arm(vcpu)) << "without asking again";
  EXPECT_EQ(asked.size(), 1u);
  EXPECT_TRUE(tracer->programs_run());
  guest.set(task, guest::Field::task_mm, Gva());  // a kernel thread
  EXPECT_FALSE(tracer->programs_run());
}

TEST_F(TracerTest, NoticesThatAnotherKernelHasCome) {
  make();
  answer({link::KernelProfile{true, guest.profile.format()}});
  ASSERT_TRUE(tracer->identify(vcpu));
  supervising.join();
  guest.write(guest.symbol(guest::Symbol::linux_banner), uint64_t{0x7878787878787878});
  EXPECT_EQ(tracer->progress(), Tracer::Progress::gone);
}

TEST_F(TracerTest, ShowsTheSupervisorACopyOfTheImage) {
  make();
  const std::string word = "somewhere in the image";
  guest.write(fake::kImageBase + 0x20, word.data(), word.size());
  answer({link::KernelProfile{false, guest.profile.format()}});
  const auto armed = tracer->arm(vcpu);
  supervising.join();
  ASSERT_TRUE(armed) << armed.error().message;
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].type(), link::Type::IdentifyKernel);
  EXPECT_EQ(asked[0].as<link::IdentifyKernel>()->build_id, "1111111122222222");
  EXPECT_EQ(asked[0].as<link::IdentifyKernel>()->base, 0xffffffff81000000);
  tracer->armed();
  EXPECT_FALSE(events().at(0).as<event::Armed>().cached);
  struct stat info {};
  ASSERT_EQ(fstat(asked[0].fds.at(0).get(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), fake::kImageSize);
  std::string read_back(word.size(), '\0');
  EXPECT_EQ(pread(asked[0].fds.at(0).get(), read_back.data(), word.size(), 0x20), static_cast<ssize_t>(word.size()));
  EXPECT_EQ(read_back, word);
}

TEST_F(TracerTest, KernelPageTableIsolation) {
  make();
  arch::set_tables(vcpu, {guest.memory.root() | 0x1000 | 7});  // the user half's table, and a PCID
  EXPECT_TRUE(arm());
}

TEST_F(TracerTest, HolesInTheImageAreZero) {
  guest.memory.unmap(fake::kImageBase + (2 << 20));  // 2 MiB: page_offset_base is not in there
  for (uint64_t page = 0; page < 100; ++page)
    guest.memory.map(fake::kImageBase + (2 << 20) + page * 8192, fake::kImageStart + (2 << 20) + page * 8192);
  make();
  const auto armed = arm();
  ASSERT_TRUE(armed) << armed.error().message;
}

TEST_F(TracerTest, NoKernelImage) {
  make();
  arch::set_tables(vcpu, {guest.allocate().value - fake::kDirectMap.value});
  auto armed = tracer->arm(vcpu);
  ASSERT_FALSE(armed);
  EXPECT_EQ(armed.error().code, Errc::not_found);
  EXPECT_NE(armed.error().message.find("no kernel image"), std::string::npos);
  arch::set_tables(vcpu, {0x7ffffffffffff000});  // nowhere
  EXPECT_FALSE(tracer->arm(vcpu));

  answer({link::RunUntraced{}});
  EXPECT_TRUE(tracer->ask_to_go_on(armed.error().message));
  supervising.join();
  ASSERT_TRUE(asked.at(0).as<link::Untraceable>());
  EXPECT_EQ(asked.at(0).as<link::Untraceable>()->why, armed.error().message);
  EXPECT_EQ(events().at(0).kind, Kind::incomplete);
  supervisor.reset();
  EXPECT_FALSE(tracer->ask_to_go_on("x")) << "nobody to ask";
}

TEST_F(TracerTest, NoBuildIdMeansNothingCached) {
  guest.write(fake::kImageBase + 0x10c, uint32_t{0});
  make();
  EXPECT_TRUE(arm());
  EXPECT_EQ(asked.at(0).as<link::IdentifyKernel>()->build_id, "");
}

TEST_F(TracerTest, BadAnswersAreErrors) {
  make();
  const link::Body bad[] = {link::KernelProfile{true, "nonsense"}, link::Failed{"because"}, link::RunUntraced{}};
  for (const link::Body& one : bad) {
    answer({one});
    const auto armed = tracer->arm(vcpu);
    supervising.join();
    EXPECT_FALSE(armed);
  }
  answer({link::Failed{"BTF is missing"}});
  const auto armed = tracer->arm(vcpu);
  supervising.join();
  ASSERT_FALSE(armed);
  EXPECT_EQ(armed.error().message, "BTF is missing");
  supervisor.reset();
  EXPECT_FALSE(tracer->arm(vcpu)) << "the supervisor is gone";
}

TEST_F(TracerTest, MissingOptionalFunctionsAreGapsAndDenyIsForThoseThatCan) {
  fake::set_missing(guest.profile, Symbol::fn_do_tee);
  settings.policy.leak = policy::Verdict::deny;
  make();
  const auto armed = arm();
  ASSERT_TRUE(armed);
  EXPECT_EQ(armed->size(), hooks::hook_points().size() - 1);
  for (const engine::Hook& hook : *armed) EXPECT_EQ(hook.may_steer, point_of(hook).leads_out);
  const auto told = events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].kind, Kind::incomplete);
  EXPECT_EQ(event::detail(told[0]), "tee");
  EXPECT_EQ(ring->counters().incomplete, 1u);
}

// The engine keeps the hooks that it has placed, and goes on calling their handlers.
TEST_F(TracerTest, WhereAHookOfHiddenServicesCannotBePlacedNoneIsHidden) {
  for (const bool placed : {true, false}) {
    std::vector<std::unique_ptr<hiding::Service>> services;
    auto& service = *services.emplace_back(std::make_unique<hiding::Service>());
    service.name = "web";
    service.exe = "/service";
    auto fds = proxy::Channel::create();
    ASSERT_TRUE(fds);
    int alive[2];
    ASSERT_EQ(pipe(alive), 0);
    const UniqueFd lives(alive[1]);
    service.set_first_proxy(std::make_shared<hiding::ProxyClient>(
        std::move(*proxy::Channel::attach(std::move(*fds), proxy::Channel::Side::tracer)), UniqueFd(alive[0])));
    make(1 << 20, std::move(services));
    const auto armed = arm();
    ASSERT_TRUE(armed) << armed.error().message;
    const auto at = [&](Symbol function) {
      return *std::find_if(armed->begin(), armed->end(), [&](auto& one) { return point_of(one).function == function; });
    };
    if (!placed) tracer->not_placed(at(Symbol::fn_exit_files));
    const Gva started = guest.task(placed ? 300 : 301, "service"), program = guest.allocate();
    guest.set(program, guest::Field::binprm_file, guest.open(guest.make_file(disk, "service", placed ? 12 : 13)));
    guest.run(vcpu, started);
    vcpu.set_arguments({program.value});
    tracer->hook(point_of(at(Symbol::fn_bprm_committed_creds)), vcpu);
    const auto work = guest.get(started, guest::Field::thread_info_syscall_work);
    EXPECT_EQ(work >> (guest.profile[guest::Field::syscall_user_dispatch_bit] & 63) & 1, placed);
    EXPECT_EQ(tracer->retire(false), "");
  }
}

TEST_F(TracerTest, BadPatternIsRefused) {
  settings.rules = {{"[", 1}};
  char path[] = "/tmp/oboro-tracer-test-XXXXXX";
  ASSERT_TRUE(mkdtemp(path));
  const std::string file = std::string(path) + "/ring";
  ASSERT_TRUE(stream::RingReader::create(file, 1 << 16));
  Result<stream::RingWriter> writer = stream::RingWriter::open(file);
  ASSERT_TRUE(writer);
  EXPECT_FALSE(Tracer::create(guest.memory.ram(), settings, std::move(*writer), UniqueFd()));
  unlink(file.c_str());
  unlink(stream::read_path(file).c_str());
  rmdir(path);
}

TEST_F(TracerTest, EventsAreNumberedAndCounted) {
  settings.first_seq = 50;
  settings.boot = 3;
  make();
  ASSERT_TRUE(arm());
  const Gva file = guest.open(secret);
  hook(Symbol::fn_file_open, {file.value});
  hook(Symbol::fn_file_permission, {file.value, 4});
  const auto told = events();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].kind, Kind::classified);
  EXPECT_EQ(told[1].kind, Kind::diffusion);
  EXPECT_EQ(told[0].seq, 50u);
  EXPECT_EQ(told[1].seq, 51u);
  EXPECT_EQ(told[1].boot, 3u);
  EXPECT_GT(told[1].time_ns, 0u);
  EXPECT_EQ(ring->counters().managed_files, 1u);
  EXPECT_EQ(ring->counters().managed_processes, 1u);
  EXPECT_EQ(ring->counters().last_seq, 51u);
}

TEST_F(TracerTest, WhatTheKernelDoesBeforeThereIsAProgramIsNotReported) {
  make();
  ASSERT_TRUE(arm());
  const Gva file = guest.open(secret);
  const Gva unpacker = guest.kernel_thread(9, "kworker/u2:0");
  guest.run(vcpu, unpacker);
  hook(Symbol::fn_file_open, {file.value});
  EXPECT_TRUE(events().empty());
  guest.run(vcpu, task);
  hook(Symbol::fn_file_permission, {guest.open(guest.make_file(disk, "plain", 12)).value, 4});
  guest.run(vcpu, unpacker);
  hook(Symbol::fn_file_open, {file.value});
  EXPECT_EQ(events().size(), 1u) << "later it is";
}

TEST_F(TracerTest, ResetKeepsOnlyFiles) {
  make();
  ASSERT_TRUE(arm());
  const Gva file = guest.open(secret);
  hook(Symbol::fn_file_open, {file.value});
  hook(Symbol::fn_file_permission, {file.value, 4});
  hook(Symbol::fn_machine_kexec, {});
  EXPECT_TRUE(tracer->kernel_was_replaced());
  EXPECT_FALSE(tracer->kernel_was_replaced());
  tracer->boot_ended("kexec");
  auto told = events();
  EXPECT_EQ(told.back().kind, Kind::reset);
  EXPECT_EQ(event::detail(told.back()), "kexec");
  EXPECT_EQ(ring->counters().managed_processes, 0u);
  EXPECT_EQ(ring->counters().managed_files, 1u);
  EXPECT_EQ(ring->counters().hooks_armed, 0u);
  EXPECT_EQ(link::receive(supervisor.get(), 1000)->type(), link::Type::Reset);

  // The next boot: the same file has another inode in memory, and no other object is what it was.
  settings.rules.clear();
  asked.clear();
  const Gva again = guest.open(guest.make_file(disk, "secret", 11)),
            plain = guest.open(guest.make_file(disk, "plain", 12));
  ASSERT_TRUE(arm());
  hook(Symbol::fn_file_permission, {file.value, 4});
  hook(Symbol::fn_file_open, {plain.value});
  hook(Symbol::fn_file_permission, {plain.value, 4});
  EXPECT_TRUE(events().empty());
  hook(Symbol::fn_file_open, {again.value});
  hook(Symbol::fn_file_permission, {again.value, 4});
  told = events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].kind, Kind::diffusion);
  EXPECT_EQ(told[0].boot, 2u);
}

TEST_F(TracerTest, KnownFilesBearTheirLabelsAndIdsFromTheStart) {
  settings.rules.clear();
  link::KnownFile known;
  guest::Reader r(guest.kernel());
  known.identity = guest::Inode{guest.inode_of(secret)}.identity(r);
  known.labels = 4;
  known.id = 77;
  settings.files = {known};
  make();
  ASSERT_TRUE(arm());
  const Gva file = guest.open(secret);
  hook(Symbol::fn_file_open, {file.value});
  hook(Symbol::fn_file_permission, {file.value, 4});
  const auto told = events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].from.id, 77u);
  EXPECT_EQ(told[0].object.id, 78u);
  EXPECT_EQ(told[0].labels, 4u);
}

TEST_F(TracerTest, LabelsThatMayBeMissingAreToldAndNothingLeavesWhereThatIsTheReaction) {
  settings.labels_missing = true;
  settings.policy.leak = policy::Verdict::deny;
  make();
  const auto told = events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].kind, Kind::incomplete);
  EXPECT_EQ(told[0].verdict, event::Verdict::deny);
  EXPECT_NE(event::detail(told[0]).find("labels of an earlier run may be missing"), std::string::npos);
}

TEST_F(TracerTest, FullRingLosesRecordsAndSaysSo) {
  make(1 << 12);
  ASSERT_TRUE(arm());
  for (int i = 0; i < 60; ++i) tracer->boot_ended(std::string(200, 'x'));  // the first that finds no room waits 2 s
  const uint64_t lost = ring->counters().lost;
  EXPECT_GT(lost, 0u);
  uint64_t last = 0;
  for (const event::Event& event : events()) last = event.seq;
  EXPECT_EQ(last + lost, ring->counters().last_seq) << "a gap in the numbers for each";
  tracer->boot_ended("room again");
  tracer->boot_ended("and again");
  const auto told = events();
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(event::detail(told[0]), "room again");
  EXPECT_EQ(told[1].kind, Kind::lost);
  EXPECT_EQ(told[1].as<event::Lost>().count, lost);
  EXPECT_EQ(ring->counters().lost, lost);
}

TEST_F(TracerTest, WhatFillsTheRingDoesNotKeepOutWhatMustNotBeLost) {
  make(1 << 13);
  ASSERT_TRUE(arm());
  events();
  const Gva file = guest.open(secret);
  hook(Symbol::fn_file_open, {file.value});
  const Gva other = guest.make_file(disk, "other", 12);
  for (int i = 0; i < 100; ++i) hook(Symbol::fn_d_move, {secret.value, other.value});
  const uint64_t lost = ring->counters().lost;
  EXPECT_GT(lost, 0u);
  tracer->boot_ended("reset");
  const auto told = events();
  ASSERT_GT(told.size(), 3u);
  EXPECT_EQ(told.front().kind, Kind::classified);
  EXPECT_EQ(told[told.size() - 3].kind, Kind::renamed);
  EXPECT_EQ(told[told.size() - 2].as<event::Lost>().count, lost);
  EXPECT_EQ(told.back().kind, Kind::reset);
  EXPECT_EQ(ring->counters().lost, lost);
}

TEST_F(TracerTest, EachGapIsToldOnceABoot) {
  make();
  ASSERT_TRUE(arm());
  for (int i = 0; i < 3; ++i) hook(Symbol::fn_d_delete, {1});
  EXPECT_EQ(events().size(), 1u);
  tracer->boot_ended("reset");
  ASSERT_TRUE((void(link::receive(supervisor.get(), 1000)), arm()));
  events();
  hook(Symbol::fn_d_delete, {1});
  EXPECT_EQ(events().size(), 1u);
}

}  // namespace
}  // namespace oboro::tracer
