// The part of a journal that the next run has to know.
#include <gtest/gtest.h>
#include <random>

#include "history/history.h"
#include "tests/support/store/testing.h"

namespace oboro::history {
namespace {

using event::Event;
using event::Kind;
using event::ObjectType;
using store::testing::Events;
using store::testing::file;
using store::testing::process;

constexpr size_t kBound = 10;  // of objects; kMaxObjects in earnest

std::vector<uint64_t> ids(const std::vector<PersistentFile>& files) {
  std::vector<uint64_t> out;
  for (const PersistentFile& known : files) out.push_back(known.id);
  return out;
}

// So many files and processes that came and went that there is no room to keep all, and then three files.
void apply_more_than_the_bound(History& state, Events& events) {
  for (uint64_t id = 1; id <= 10 * kBound; id += 2) {
    state.apply(events.make(Kind::classified, file(id, "/srv/" + std::to_string(id)), {}, 1));
    state.apply(events.make(Kind::diffusion, process(id + 1, 800), file(id, "/srv/" + std::to_string(id)), 1));
    state.apply(events.make(Kind::exited, process(id + 1, 800)));
    state.apply(events.make(Kind::removed, file(id, "")));
  }
  for (uint64_t id = 201; id <= 203; ++id)
    state.apply(events.make(Kind::classified, file(id, "/srv/" + std::to_string(id)), {}, 1));
}

TEST(Lasting, LabelsAreKeptHoweverManyObjectsThereWere) {
  History state(Keep::lasting, kBound);
  Events events;
  apply_more_than_the_bound(state, events);
  EXPECT_EQ(ids(state.persistent_files()), (std::vector<uint64_t>{201, 202, 203}));
  EXPECT_EQ(state.next_id(), 204u);
  EXPECT_TRUE(state.complete());
  // Nor is there a bound to files that are there now.
  for (uint64_t id = 300; id < 300 + 10 * kBound; ++id)
    state.apply(events.make(Kind::classified, file(id, "/srv/" + std::to_string(id)), {}, 1));
  EXPECT_EQ(state.persistent_files().size(), 3 + 10 * kBound);
  EXPECT_EQ(state.size(), 2 * (3 + 10 * kBound) + 2) << "each file and its name, /srv, and the root";
}

TEST(Lasting, WhoShowsEverythingHasABoundButNoIdIsUsedAgain) {
  History state(Keep::everything, kBound);
  Events events;
  apply_more_than_the_bound(state, events);
  EXPECT_FALSE(state.complete());
  EXPECT_EQ(state.next_id(), 204u);
  // An object whose labels were refused, or that ended before anything was known of it, has had an ID, too.
  Event refused = events.make(Kind::diffusion, file(300, "/srv/refused"), process(301, 801), 1);
  refused.verdict = event::Verdict::deny;
  state.apply(refused);
  EXPECT_EQ(state.next_id(), 302u);
  state.apply(events.make(Kind::exited, process(400, 802)));
  EXPECT_EQ(state.next_id(), 401u);
}

TEST(Lasting, KeepsWhatOutlivesTheBootAndNothingElse) {
  History state(Keep::lasting);
  Events events;
  state.apply(events.make(Kind::classified, file(1, "/srv/a"), {}, 1));
  state.apply(events.make(Kind::classified, file(2, "/tmp/a", "dev 0:23"), {}, 1));
  state.apply(events.make(Kind::diffusion, process(3, 5), file(1, "/srv/a"), 1));
  state.apply(events.make(Kind::diffusion, file(4, "/srv/copy"), process(3, 5), 5));
  state.apply(events.make(Kind::classified, file(4, "/srv/copy"), {}, 2));
  EXPECT_EQ(state.find(object_key(ObjectType::file, 2)), nullptr);
  EXPECT_EQ(state.find(object_key(ObjectType::process, 3)), nullptr);
  EXPECT_EQ(state.present(ObjectType::file), 2u);
  const auto files = state.persistent_files();
  ASSERT_EQ(ids(files), (std::vector<uint64_t>{1, 4}));
  EXPECT_EQ(files[1], (PersistentFile{file(4, "").fs, "ext4", 1004, 7, 7, 4, {"/srv/copy"}, ""}));
  state.apply(events.make(Kind::started));
  EXPECT_EQ(state.persistent_files(), files);
  state.apply(events.make(Kind::removed, file(1, "")));
  state.apply(events.make(Kind::removed, file(1, "")));
  EXPECT_EQ(ids(state.persistent_files()), std::vector<uint64_t>{4});
  EXPECT_EQ(state.present(ObjectType::file), 1u);
}

// A guest can make a file system for each file. That what is kept says the right one is all that can be seen of it.
TEST(Lasting, FileSystemsGoWithTheirFiles) {
  History state(Keep::lasting);
  Events events;
  const auto on = [](uint64_t id) { return file(id, "/a", "fs-" + std::to_string(id)); };
  for (uint64_t id = 1; id <= 1000; ++id) {
    state.apply(events.make(Kind::classified, on(id), {}, 1));
    if (id % 100 != 0) state.apply(events.make(Kind::removed, on(id)));
  }
  const auto files = state.persistent_files();
  ASSERT_EQ(files.size(), 10u);
  for (const PersistentFile& known : files) {
    EXPECT_EQ(known.fs, "fs-" + std::to_string(known.id));
    EXPECT_EQ(known.fs_type, "ext4");
    EXPECT_EQ(known.names, std::vector<std::string>{"/a"});
  }
}

// Events by chance, about few files under few names, so that all that can happen to them does: the kinds that count,
// exchanges, names in the place of others', the same again.
std::vector<Event> events_by_chance(uint32_t seed, size_t count) {
  std::mt19937 random(seed);
  const auto below = [&](uint32_t bound) { return static_cast<uint32_t>(random() % bound); };
  const auto some_file = [&] {
    const uint64_t id = 1 + below(6);
    return file(id, "/d" + std::to_string(below(2)) + "/" + std::to_string(below(5)), id == 6 ? "dev 0:23" : "fs-1");
  };
  Events events;
  std::vector<Event> out;
  const auto rename = [&](event::Object object, std::string from) {
    Event event = events.make(Kind::renamed, std::move(object));
    event.set(event::Renamed{std::move(from)});
    out.push_back(event);
  };
  while (out.size() < count) {
    switch (below(10)) {
      case 0:
        events.boot += below(2);
        out.push_back(events.make(below(2) == 0 ? Kind::started : Kind::reset));
        break;
      case 1:
        out.push_back(events.make(Kind::removed, some_file()));
        break;
      case 2:
        out.push_back(events.make(Kind::unlinked, some_file()));
        break;
      case 3:
        out.push_back(events.make(Kind::linked, some_file()));
        break;
      case 4:
        out.push_back(events.make(Kind::diffusion, process(10 + below(3), 5), some_file(), 1 + below(7)));
        break;
      case 5:
        out.push_back(events.make(Kind::diffusion, some_file(), process(10 + below(3), 5), 1 + below(7)));
        break;
      case 6:
        rename(some_file(), some_file().path);
        break;
      case 7: {  // two names change places
        event::Object a = some_file(), b = some_file();
        if (a.id == b.id || a.path == b.path) break;
        const std::string was = b.path;
        b.path = std::exchange(a.path, b.path);
        rename(a, b.path);
        rename(b, was);
        break;
      }
      default:
        out.push_back(events.make(Kind::classified, some_file(), {}, 1 + below(7)));
    }
  }
  return out;
}

TEST(Lasting, GoesOnFromAnyEventAsIfItHadSeenAll) {
  size_t named = 0;
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    const std::vector<Event> events = events_by_chance(seed, 100);
    for (size_t cut = 0; cut <= events.size(); cut += 1 + seed % 3) {
      History whole(Keep::lasting), first(Keep::lasting);
      for (const Event& event : events) whole.apply(event);
      for (size_t i = 0; i < cut; ++i) first.apply(events[i]);
      const Lasting kept = first.lasting();
      History rest(kept);
      EXPECT_EQ(rest.lasting(), kept);
      for (size_t i = cut; i < events.size(); ++i) rest.apply(events[i]);
      ASSERT_EQ(rest.lasting(), whole.lasting()) << "seed " << seed << ", cut at " << cut;
      for (const PersistentFile& known : rest.persistent_files()) named += known.names.size();
    }
  }
  EXPECT_GT(named, 500u);  // else nothing was shown
}

// The second half alone would move what the first one did back again.
TEST(Lasting, AnExchangeOfDirectoriesMayBeCutInTwo) {
  Events events;
  const auto rename = [&](std::string from, std::string to, uint64_t inode) {
    event::Object directory = file(0, std::move(to));
    directory.inode = inode;
    Event event = events.make(Kind::renamed, directory);
    event.set(event::Renamed{std::move(from)});
    return event;
  };
  History first(Keep::lasting);
  first.apply(events.make(Kind::classified, file(1, "/a/x"), {}, 1));
  first.apply(events.make(Kind::classified, file(2, "/b/y"), {}, 1));
  first.apply(rename("/a", "/b", 50));
  History rest(first.lasting());
  rest.apply(rename("/b", "/a", 51));
  const auto files = rest.persistent_files();
  ASSERT_EQ(ids(files), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(files[0].names, std::vector<std::string>{"/b/x"});
  EXPECT_EQ(files[1].names, std::vector<std::string>{}) << "that is not kept; a wrong name would be worse";
}

TEST(Lasting, PathsThatAreTooLongAreNoNames) {
  Events events;
  History state(Keep::lasting);
  state.apply(events.make(Kind::classified, file(1, "/a/x"), {}, 1));
  for (int i = 0; i < 300; ++i) {  // each puts the directory above a further one
    Event event = events.make(Kind::renamed, file(0, "/" + std::to_string(i) + "/" + std::string(100, 'd')));
    event.set(event::Renamed{i == 0 ? "/a" : "/" + std::to_string(i - 1)});
    state.apply(event);
  }
  ASSERT_EQ(state.persistent_files().size(), 1u);
  EXPECT_EQ(state.persistent_files()[0].names, std::vector<std::string>{});
  EXPECT_EQ(History(state.lasting()).lasting(), state.lasting());
}

}  // namespace
}  // namespace oboro::history
