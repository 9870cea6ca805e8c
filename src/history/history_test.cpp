#include "history/history.h"

#include <chrono>
#include <gtest/gtest.h>

#include "event/detail.h"
#include "tests/support/store/testing.h"

namespace oboro::history {
namespace {

using event::Event;
using event::Kind;
using event::ObjectType;
using store::testing::Events;
using store::testing::file;
using store::testing::process;
using store::testing::socket;

std::vector<std::string> paths_of(const History& state, uint64_t id) {
  const auto* object = state.find(object_key(ObjectType::file, id));
  return object == nullptr ? std::vector<std::string>{"?"} : state.paths(*object);
}

std::vector<uint64_t> orders(const Chain& chain) {
  std::vector<uint64_t> out;
  for (const Chain::Step& step : chain.steps) out.push_back(step.order);
  return out;
}

Event renamed(Events& events, event::Object object, std::string from) {
  Event event = events.make(Kind::renamed, std::move(object));
  event.set(event::Renamed{std::move(from)});
  return event;
}

using Paths = std::vector<std::string>;

TEST(History, ExplainsFromTheFileToTheSocket) {
  History state;
  Events events;
  state.apply(events.make(Kind::started));
  state.apply(events.make(Kind::classified, file(1, "/srv/secret/plan.txt"), {}, 1));              // 2
  state.apply(events.make(Kind::diffusion, process(2, 812), file(1, "/srv/secret/plan.txt"), 1));  // 3
  state.apply(events.make(Kind::classified, file(3, "/srv/hr/x"), {}, 2));                         // 4
  state.apply(events.make(Kind::diffusion, process(2, 812), file(3, "/srv/hr/x"), 2));             // 5
  state.apply(events.make(Kind::diffusion, file(4, "/tmp/copy"), process(2, 812), 3));             // 6
  state.apply(events.make(Kind::diffusion, process(2, 812), file(4, "/tmp/copy"), 3));             // 7: nothing new
  state.apply(events.make(Kind::leak, socket(5), process(2, 812), 3));                             // 8
  const auto* leak = state.find(object_key(ObjectType::socket, 5));
  ASSERT_NE(leak, nullptr);
  EXPECT_EQ(leak->labels, 3u);
  const auto chains = state.explain(*leak);
  ASSERT_EQ(chains.size(), 2u);
  EXPECT_EQ(orders(chains[0]), (std::vector<uint64_t>{2, 3, 8}));
  EXPECT_EQ(orders(chains[1]), (std::vector<uint64_t>{4, 5, 8}));
  EXPECT_TRUE(chains[0].complete);
  EXPECT_TRUE(state.complete());
  EXPECT_EQ(state.leaks(), 1u);
  EXPECT_EQ(state.next_id(), 6u);
  EXPECT_EQ(state.find_process(812)->id, 2u);
  EXPECT_EQ(state.find_file("/tmp/copy")->id, 4u);
  EXPECT_EQ(state.find_file("/tmp/nothing"), nullptr);
}

TEST(History, SaysWhySendsAreRefusedUntilTheNextRun) {
  History state;
  Events events;
  const auto make = [&](Kind kind, std::string_view detail, event::Verdict verdict) {
    Event event = events.make(kind);
    event::adopt_detail(event, detail);
    event.verdict = verdict;
    return event;
  };
  state.apply(events.make(Kind::started));
  state.apply(make(Kind::incomplete, "tee", event::Verdict::allow));
  EXPECT_EQ(state.sends_refused(), "") << "the run only alerts";
  state.apply(make(Kind::incomplete, "splice", event::Verdict::deny));
  state.apply(make(Kind::lost, "3 records", event::Verdict::deny));
  state.apply(make(Kind::reset, "reset", event::Verdict::allow));
  Event refused = make(Kind::refused, "because", event::Verdict::deny);
  refused.object = socket(0);
  state.apply(refused);
  EXPECT_EQ(state.sends_refused(), "splice");
  EXPECT_EQ(state.leaks(), 0u);
  state.apply(events.make(Kind::stopped));
  EXPECT_EQ(state.sends_refused(), "splice");
  state.apply(events.make(Kind::started));
  EXPECT_EQ(state.sends_refused(), "");
  state.apply(make(Kind::lost, "3 records", event::Verdict::deny));
  EXPECT_EQ(state.sends_refused(), "records were lost");
}

TEST(History, UnknownSourceIsManagedAndSaidToBeUnexplained) {
  History state;
  Events events;
  state.apply(events.make(Kind::started));
  events.skip(3);
  state.apply(events.make(Kind::diffusion, file(4, "/tmp/copy"), process(2, 812), 1));
  EXPECT_EQ(state.lost(), 3u);
  EXPECT_FALSE(state.complete());
  EXPECT_NE(state.find_process(812), nullptr);
  const auto chains = state.explain(*state.find_file("/tmp/copy"));
  ASSERT_EQ(chains.size(), 1u);
  EXPECT_FALSE(chains[0].complete);
  EXPECT_EQ(orders(chains[0]), std::vector<uint64_t>{2});
}

TEST(History, DeniedLeakGivesNothing) {
  History state;
  Events events;
  Event event = events.make(Kind::leak, socket(5), process(2, 812), 1);
  event.verdict = event::Verdict::deny;
  state.apply(event);
  EXPECT_EQ(state.find(object_key(ObjectType::socket, 5)), nullptr);
  EXPECT_EQ(state.leaks(), 1u);
}

TEST(History, Names) {
  History state;
  Events events;
  state.apply(events.make(Kind::classified, file(1, "/srv/a/b/c"), {}, 1));
  state.apply(events.make(Kind::classified, file(2, "/srv/a/d"), {}, 1));
  state.apply(events.make(Kind::linked, file(1, "/home/link")));
  EXPECT_EQ(paths_of(state, 1), (Paths{"/home/link", "/srv/a/b/c"}));
  // A directory.
  state.apply(renamed(events, file(0, "/srv/new"), "/srv/a"));
  EXPECT_EQ(paths_of(state, 1), (Paths{"/home/link", "/srv/new/b/c"}));
  EXPECT_EQ(paths_of(state, 2), (Paths{"/srv/new/d"}));
  EXPECT_EQ(state.find_file("/srv/a/d"), nullptr);
  EXPECT_EQ(state.find_file("/srv/new/d")->id, 2u);
  // A directory into another one.
  state.apply(renamed(events, file(0, "/x/y/z"), "/srv/new/b"));
  EXPECT_EQ(paths_of(state, 1), (Paths{"/home/link", "/x/y/z/c"}));
  // A file over another one.
  state.apply(renamed(events, file(2, "/x/y/z/c"), "/srv/new/d"));
  EXPECT_EQ(paths_of(state, 2), (Paths{"/x/y/z/c"}));
  EXPECT_EQ(paths_of(state, 1), (Paths{"/home/link"}));
  state.apply(events.make(Kind::unlinked, file(1, "/x/y/z/c")));  // the kernel says so too: of file 1, which lost it
  EXPECT_EQ(paths_of(state, 2), (Paths{"/x/y/z/c"}));
  state.apply(events.make(Kind::unlinked, file(1, "/home/link")));
  EXPECT_EQ(paths_of(state, 1), Paths{});
  const auto* object = state.find(object_key(ObjectType::file, 1));
  EXPECT_TRUE(std::get<FileDetail>(object->detail).unlinked);
  EXPECT_EQ(state.describe(*object).path, "/home/link");
  EXPECT_EQ(state.find_file("/home/link")->id, 1u);
  state.apply(events.make(Kind::removed, file(1, "")));
  EXPECT_TRUE(state.find(object_key(ObjectType::file, 1))->ended);
  EXPECT_EQ(state.present(ObjectType::file), 1u);
}

TEST(History, SamePathOnAnotherFileSystemIsAnotherFile) {
  History state;
  Events events;
  state.apply(events.make(Kind::classified, file(1, "/a/b", "dev 0:23"), {}, 1));
  state.apply(events.make(Kind::classified, file(2, "/a/b", "dev 0:24"), {}, 1));
  state.apply(renamed(events, file(0, "/c", "dev 0:23"), "/a"));
  EXPECT_EQ(paths_of(state, 1), Paths{"/c/b"});
  EXPECT_EQ(paths_of(state, 2), Paths{"/a/b"});
}

TEST(History, Exchange) {
  History state;
  Events events;
  const auto exchange = [&](event::Object one, event::Object other) {
    const std::string from = one.path;
    const std::string to = other.path;
    one.path = to;
    other.path = from;
    state.apply(renamed(events, one, from));
    state.apply(renamed(events, other, to));
  };
  const auto directory = [](uint64_t inode, std::string path) {
    event::Object object = file(0, std::move(path));
    object.inode = inode;
    return object;
  };
  state.apply(events.make(Kind::classified, file(1, "/a/x"), {}, 1));
  state.apply(events.make(Kind::classified, file(2, "/b/y"), {}, 1));
  exchange(directory(50, "/a"), directory(51, "/b"));
  EXPECT_EQ(paths_of(state, 1), Paths{"/b/x"});
  EXPECT_EQ(paths_of(state, 2), Paths{"/a/y"});
  exchange(directory(52, "/empty"), directory(50, "/b"));
  EXPECT_EQ(paths_of(state, 1), Paths{"/empty/x"});
  exchange(directory(50, "/empty"), directory(52, "/b"));
  EXPECT_EQ(paths_of(state, 1), Paths{"/b/x"});
  exchange(file(1, "/b/x"), file(2, "/a/y"));
  EXPECT_EQ(paths_of(state, 1), Paths{"/a/y"});
  EXPECT_EQ(paths_of(state, 2), Paths{"/b/x"});
  // There and back is no exchange.
  state.apply(renamed(events, directory(50, "/c"), "/b"));
  state.apply(renamed(events, directory(50, "/b"), "/c"));
  EXPECT_EQ(paths_of(state, 2), Paths{"/b/x"});
}

TEST(History, NameTakenByANewFile) {
  History state;
  Events events;
  state.apply(events.make(Kind::classified, file(1, "/a/b"), {}, 1));
  state.apply(events.make(Kind::classified, file(2, "/a/b"), {}, 1));
  EXPECT_EQ(paths_of(state, 1), Paths{});
  EXPECT_EQ(paths_of(state, 2), Paths{"/a/b"});
}

TEST(History, HostileRenames) {
  History state;
  Events events;
  state.apply(events.make(Kind::classified, file(1, "/a/b/c"), {}, 1));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"/a", "/a/b/x"},
                                                                                 {"/a", "/a"},
                                                                                 {"/", "/q"},
                                                                                 {"/a", "/"},
                                                                                 {"a", "/q"},
                                                                                 {"/a", "q"},
                                                                                 {"", ""},
                                                                                 {"/none", "/q"},
                                                                                 {"/a//b/", "/a/b"}})
    state.apply(renamed(events, file(0, to), from));
  EXPECT_EQ(paths_of(state, 1), Paths{"/a/b/c"});
  // A directory that we believe to be full is replaced.
  state.apply(events.make(Kind::classified, file(2, "/d/e"), {}, 1));
  state.apply(renamed(events, file(0, "/a"), "/d"));
  EXPECT_EQ(paths_of(state, 2), Paths{"/a/e"});
  EXPECT_EQ(paths_of(state, 1), Paths{});
  state.apply(events.make(Kind::removed, file(1, "")));
  // Deeper and deeper.
  for (int i = 0; i < 20'000; ++i) {
    const std::string top = "/n" + std::to_string(i);
    state.apply(renamed(events, file(0, top + "/x"), i == 0 ? "/a" : "/n" + std::to_string(i - 1)));
  }
  EXPECT_LT(paths_of(state, 2).at(0).size(), 20'000u);
}

TEST(History, BootEndsWhatDoesNotPersist) {
  History state;
  Events events;
  state.apply(events.make(Kind::armed));
  state.apply(events.make(Kind::classified, file(1, "/srv/a"), {}, 1));
  state.apply(events.make(Kind::classified, file(2, "/tmp/a", "dev 0:23"), {}, 1));
  state.apply(events.make(Kind::diffusion, process(3, 5), file(1, "/srv/a"), 1));
  state.apply(events.make(Kind::armed));  // the same boot
  EXPECT_EQ(state.present(ObjectType::process), 1u);
  events.boot = 2;
  state.apply(events.make(Kind::armed));
  EXPECT_EQ(state.present(ObjectType::process), 0u);
  EXPECT_EQ(state.present(ObjectType::file), 1u);
  const auto files = state.persistent_files();
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].names, Paths{"/srv/a"});
  EXPECT_EQ(files[0].inode, 1001u);
  EXPECT_EQ(files[0].generation, 7u);
  EXPECT_EQ(files[0].id, 1u);
  for (const Kind kind : {Kind::started, Kind::reset}) {
    state.apply(events.make(Kind::diffusion, process(10 + static_cast<uint64_t>(kind), 6), file(1, "/srv/a"), 1));
    EXPECT_EQ(state.present(ObjectType::process), 1u);
    state.apply(events.make(Kind::stopped));  // it can still be asked what the guest held when it ended
    EXPECT_EQ(state.present(ObjectType::process), 1u);
    state.apply(events.make(kind));
    EXPECT_EQ(state.present(ObjectType::process), 0u);
  }
}

TEST(History, ProcessesExecAndExit) {
  History state;
  Events events;
  state.apply(events.make(Kind::classified, file(1, "/srv/a"), {}, 1));
  state.apply(events.make(Kind::diffusion, process(2, 812, "bash"), file(1, "/srv/a"), 1));
  Event exec = events.make(Kind::exec, process(2, 812, "curl"), {}, 1);
  exec.set(event::Exec{"/usr/bin/bash"});
  state.apply(exec);
  EXPECT_EQ(state.describe(*state.find_process(812)).process.exe, "/usr/bin/curl");
  EXPECT_EQ(state.describe(*state.find_process(812)).process.comm, "curl");
  state.apply(events.make(Kind::exited, process(2, 812)));
  state.apply(events.make(Kind::exited, process(2, 812)));
  EXPECT_TRUE(state.find_process(812)->ended);
  state.apply(events.make(Kind::diffusion, process(3, 812, "vi"), file(1, "/srv/a"), 1));
  EXPECT_EQ(state.find_process(812)->id, 3u);  // the PID again, another process
}

TEST(History, Completeness) {
  History state;
  Events events;
  for (int i = 0; i < 3; ++i) {
    Event event = events.make(Kind::incomplete);
    event.set(event::Incomplete{"a 32-bit process shares memory"});
    state.apply(event);
  }
  EXPECT_EQ(state.incomplete_reasons().size(), 1u);
  EXPECT_EQ(state.incomplete_events(), 3u);
  Event lost = events.make(Kind::lost);
  lost.set(event::Lost{12, false, "the ring was full"});
  state.apply(lost);
  EXPECT_EQ(state.lost(), 12u);
  Event jump = events.make(Kind::warning);
  jump.seq = ~uint64_t{0};
  state.apply(jump);
  state.apply(events.make(Kind::classified, file(1, "/a"), {}, 1));  // still counts
  EXPECT_EQ(state.out_of_order(), 1u);
  EXPECT_NE(state.find_file("/a"), nullptr);
}

TEST(History, WarningsAreOfTheRun) {
  History state;
  Events events;
  const auto warn = [&](std::string detail) {
    Event event = events.make(Kind::warning);
    event.set(event::Warning{std::move(detail)});
    state.apply(event);
  };
  using Texts = std::vector<std::string>;
  warn("one");
  warn("two");
  warn("one");
  state.apply(events.make(Kind::reset));
  EXPECT_EQ(state.warnings(), (Texts{"one", "two"}));
  EXPECT_TRUE(state.complete());
  state.apply(events.make(Kind::started));
  EXPECT_EQ(state.warnings(), Texts{});
  for (size_t i = 0; i < 2 * History::kMaxReasons; ++i) warn(std::to_string(i));
  EXPECT_EQ(state.warnings().size(), History::kMaxReasons);
}

TEST(History, WhatWasLeftOutIsMissingButNotLost) {
  History state;
  Events events;
  const auto flood = [&](uint64_t count, uint64_t first, uint64_t last) {
    Event event = events.make(Kind::flood);
    event.seq = 0;
    event.set(event::Flood{"rate", count, 0, "", first, last, 0});
    state.apply(event);
  };
  state.apply(events.make(Kind::started));
  EXPECT_TRUE(state.complete());
  flood(0, 0, 0);
  EXPECT_FALSE(state.complete()) << "some may be left out from here on";
  events.skip(9);  // and one that the report of the flood has taken in vain
  state.apply(events.make(Kind::warning));
  EXPECT_EQ(state.lost(), 10u) << "nobody has said yet what they are";
  flood(8, 3, 11);
  EXPECT_EQ(state.lost(), 2u);
  flood(5, 20, 30);
  EXPECT_EQ(state.left_out(), (LeftOut{3, 13, 3, 30}));
  EXPECT_EQ(state.lost(), 0u);
  flood(~uint64_t{0}, 0, 0);  // a hostile journal
  EXPECT_GT(state.left_out().events, uint64_t{1} << 50);
}

TEST(History, HundredThousandFiles) {
  const auto start = std::chrono::steady_clock::now();
  History state;
  Events events;
  for (uint64_t i = 1; i <= 100'000; ++i)
    state.apply(events.make(Kind::classified,
                            file(i, "/srv/secret/" + std::to_string(i % 300) + "/" + std::to_string(i)), {}, 1));
  for (int i = 0; i < 10'000; ++i) {
    state.apply(renamed(events, file(0, "/srv/other"), "/srv/secret"));
    state.apply(renamed(events, file(0, "/srv/secret"), "/srv/other"));
  }
  EXPECT_EQ(state.persistent_files().size(), 100'000u);
  const auto took = std::chrono::steady_clock::now() - start;
  std::printf("folded in %lld ms\n", static_cast<long long>(took / std::chrono::milliseconds(1)));
}

}  // namespace
}  // namespace oboro::history
