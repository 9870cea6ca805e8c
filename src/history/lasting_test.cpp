// What the next run has to know of a journal.
#include <gtest/gtest.h>

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
}

TEST(Lasting, WhoShowsEverythingHasABoundButNoIdIsUsedAgain) {
  History state(Keep::everything, kBound);
  Events events;
  apply_more_than_the_bound(state, events);
  EXPECT_FALSE(state.complete());
  EXPECT_EQ(state.next_id(), 204u);
  // What was refused, or ended before anything was known of it, has had an ID too.
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

}  // namespace
}  // namespace oboro::history
