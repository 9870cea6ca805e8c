// An index gives what the journal gives.
#include "index/index.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <signal.h>
#include <sys/resource.h>

#include "event/codec.h"
#include "tests/support/index/chance.h"
#include "tests/support/store/testing.h"

namespace oboro::index {
namespace {

using event::Event;
using event::Kind;
using event::ObjectType;
using store::testing::file;
using store::testing::process;
using testing::Chance;

// Everything that can be asked of a state, as a text.
std::string told(const history::History& state, const stream::Reader& reader) {
  std::string out =
      fmt::format("events {} gains {} seq {} id {} boot {} leaks {} refused {} lost {} late {} bad {} vm {}\n",
                  state.events(), state.gains(), state.last_seq(), state.next_id(), state.boot(), state.leaks(),
                  state.sends_refused(), state.lost(), state.out_of_order(), state.incomplete_events(), reader.vm());
  for (const auto& reason : state.incomplete_reasons()) out += "reason " + reason + "\n";
  for (const auto& warning : state.warnings()) out += "warning " + warning + "\n";
  for (const auto& line : reader.damage().first)
    out += fmt::format("damage {} {} {}\n", line.number, line.offset, line.reason);
  out += fmt::format("{} damaged\n", reader.damage().count);
  const auto identity = [](const history::TrackedObject* object) {
    return object == nullptr ? std::string("-") : fmt::format("{}/{}", static_cast<int>(object->type), object->id);
  };
  std::set<std::string> paths{"/nowhere"};
  std::set<uint32_t> pids{1};
  for (size_t type = 1; type < static_cast<size_t>(ObjectType::count); ++type) {
    const auto present = state.objects(static_cast<ObjectType>(type), false);
    out += fmt::format("type {}: present {} {}\n", type, state.present(static_cast<ObjectType>(type)), present.size());
    for (const auto* object : state.objects(static_cast<ObjectType>(type), true)) {
      Event shown;
      shown.set(event::Exited{});
      shown.object = state.describe(*object);
      std::vector<std::byte> bytes;
      event::encode(shown, bytes);
      out += fmt::format("{} labels {:x} since {} {} ended {}", identity(object), object->labels, object->since_ns,
                         object->since_order, object->ended);
      for (const std::byte byte : bytes) out += fmt::format("{:02x}", std::to_integer<int>(byte));
      for (const auto& path : state.paths(*object)) out += " " + path, paths.insert(path);
      if (const auto* detail = std::get_if<history::FileDetail>(&object->detail))
        out += fmt::format(" unlinked {} last {}", detail->unlinked, detail->last_path),
            paths.insert(detail->last_path);
      if (const auto* subject = std::get_if<event::Subject>(&object->detail)) pids.insert(subject->pid);
      out += "\n";
      for (const auto& chain : state.explain(*object)) {
        out += fmt::format("  {:x} {}", chain.labels, chain.complete);
        for (const auto& step : chain.steps) out += fmt::format(" {}@{}", step.order, step.place);
        out += "\n";
      }
      for (const auto& reached : state.reach(*object, 200))
        out += fmt::format("  -> {:x} {:x} {}@{} {}\n", reached.to, reached.labels, reached.step.order,
                           reached.step.place, reached.depth);
    }
  }
  for (const auto& path : paths) out += path + " is " + identity(state.find_file(path)) + "\n";
  for (const uint32_t pid : pids) out += fmt::format("{} is {}\n", pid, identity(state.find_process(pid)));
  return out;
}

class IndexTest : public ::testing::Test {
 protected:
  IndexTest() {
    auto opened = store::Appender::open(directory());
    EXPECT_TRUE(opened);
    appender_.emplace(std::move(*opened));
  }
  const std::string& directory() const { return directory_.path(); }

  void journal(const Event& event) {
    appender_->append(event, labels_, event.boot % 2 == 0 ? "guest" : "guest-1");
    ASSERT_TRUE(appender_->flush());
  }
  void damage() { std::ofstream(directory() + "/events.jsonl", std::ios::app) << "no event\n"; }

  static std::string read_on(history::History state, stream::Reader reader) {
    Event event;
    for (auto more = reader.next(event); more && *more; more = reader.next(event))
      state.apply(event, reader.place().value_or(history::kNoPlace));
    return told(state, reader);
  }
  std::string of_journal() {
    history::History state;
    if (at_begin_) state.begin_with(*at_begin_);
    auto reader = stream::Reader::open(directory());
    if (!reader) return reader.error().message;
    return read_on(std::move(state), std::move(*reader));
  }
  // With the index, and what is behind its cursor.
  std::string of_index() {
    auto snapshot = Snapshot::open(directory());
    if (!snapshot) return snapshot.error().message;
    auto reader = stream::Reader::open(directory(), (*snapshot)->standing().cursor);
    if (!reader) return reader.error().message;
    if ((*snapshot)->standing().cursor != stream::Cursor{}) reader->go_on((*snapshot)->standing().read);
    std::string told = read_on((*snapshot)->state(), std::move(*reader));
    if ((*snapshot)->failure()) return (*snapshot)->failure()->message;
    return told;
  }
  std::string why_not() {
    const auto snapshot = Snapshot::open(directory());
    return snapshot ? "" : snapshot.error().message;
  }

  std::unique_ptr<Writer> writer(const Writer::Bounds& bounds = {}) {
    return std::make_unique<Writer>(
        directory(),
        [this](const store::LabelNames&) {
          ++asked_;
          return at_begin_ ? Result<history::Lasting>(*at_begin_) : Error{Errc::not_found, "no checkpoint"};
        },
        bounds);
  }
  void bring_up(Writer& writer) {
    for (;;) {
      const auto step = writer.step();
      ASSERT_TRUE(step) << step.error().message;
      taken_ += step->events;
      if (!step->anew.empty()) anew_.push_back(step->anew);
      if (step->at_end) break;
    }
  }
  std::string path() const { return index_path(directory()); }

  store::testing::TempDirectory directory_;
  store::LabelNames labels_;
  std::optional<store::Appender> appender_;
  std::optional<history::Lasting> at_begin_;
  uint64_t taken_ = 0;
  int asked_ = 0;
  std::vector<std::string> anew_;
};

TEST_F(IndexTest, GivesWhatTheJournalGives) {
  for (uint32_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    std::filesystem::remove_all(directory());
    std::filesystem::create_directory(directory());
    labels_ = {};
    for (const char* name : {"plan", "key", "list"}) ASSERT_TRUE(labels_.add(name));
    ASSERT_TRUE(labels_.save(directory()));
    appender_.emplace(std::move(*store::Appender::open(directory())));
    Chance chance(seed);
    std::mt19937 random(seed);
    // Small batches, and hardly anything stays in memory from one to the next; or all does.
    const Writer::Bounds bounds{.events = 1 + random() % 20, .bytes = 1 << 20, .in_memory = random() % 2 * 1000};
    auto first = writer(bounds);
    for (int part = 0; part < 20; ++part) {
      for (auto left = random() % 40; left > 0; --left) journal(chance.event());
      if (random() % 8 == 0) {
        damage();
        appender_.emplace(std::move(*store::Appender::open(directory())));
      }
      if (random() % 3 == 0) first = writer(bounds);
      if (random() % 4 != 0)
        bring_up(*first);
      else
        ASSERT_TRUE(first->step());
      ASSERT_EQ(of_index(), of_journal());
    }
  }
  EXPECT_TRUE(anew_.empty()) << anew_.front();
}

TEST_F(IndexTest, HoldsWhatIsLeftAfterRetention) {
  ASSERT_TRUE(labels_.add("plan"));
  ASSERT_TRUE(labels_.save(directory()));
  Chance chance(77);
  for (int i = 0; i < 300; ++i) journal(chance.event());
  bring_up(*writer());
  history::History before(history::Keep::lasting);
  auto reader = stream::Reader::open(directory());
  ASSERT_TRUE(reader);
  Event event;
  while (*reader->next(event)) before.apply(event);
  ASSERT_TRUE(appender_->cut("guest", fmt::format("{:08x}", reader->cursor().journal)));
  for (int i = 0; i < 300; ++i) journal(chance.event());
  auto one = writer();
  bring_up(*one);
  EXPECT_EQ(of_index(), of_journal());
  std::filesystem::remove(store::segment_path(directory(), 0));
  EXPECT_NE(why_not().find("has what was removed from the journal since"), std::string::npos) << why_not();
  at_begin_ = before.lasting();
  bring_up(*one);
  EXPECT_EQ(asked_, 1);
  EXPECT_TRUE(anew_.empty()) << "nothing is wrong";
  EXPECT_EQ(of_index(), of_journal());
  journal(chance.event());
  bring_up(*writer());
  EXPECT_EQ(asked_, 1);
  EXPECT_EQ(of_index(), of_journal());
}

class OneIndex : public IndexTest {
 protected:
  OneIndex() {
    EXPECT_TRUE(labels_.add("plan"));
    EXPECT_TRUE(labels_.save(directory()));
    for (int i = 0; i < 500; ++i) journal(chance_.event());
    bring_up(*writer({.events = 100}));
  }
  Chance chance_{5};
};

TEST_F(OneIndex, IsGoneOnWith) {
  EXPECT_EQ(taken_, 500u);
  bring_up(*writer());
  EXPECT_EQ(taken_, 500u) << "nothing is read twice";
  journal(chance_.event());
  auto one = writer(), other = writer();
  bring_up(*one);
  journal(chance_.event());
  bring_up(*other);
  journal(chance_.event());
  bring_up(*one);
  EXPECT_EQ(taken_, 503u) << "two writers take turns";
  EXPECT_TRUE(anew_.empty());
  EXPECT_EQ(of_index(), of_journal());
}

TEST_F(OneIndex, FindsEventsByTheirNumbers) {
  const auto snapshot = Snapshot::open(directory());
  ASSERT_TRUE(snapshot);
  history::History state;
  auto reader = stream::Reader::open(directory());
  std::map<uint64_t, uint64_t> order_of;
  Event event;
  while (*reader->next(event)) {
    state.apply(event);
    if (event.seq != 0) order_of.emplace(event.seq, state.events());
  }
  for (uint64_t seq = 1; seq < state.last_seq() + 10; ++seq) {
    const auto found = (*snapshot)->find_event(seq);
    ASSERT_TRUE(found);
    ASSERT_EQ(found->has_value(), order_of.contains(seq)) << seq;
    if (!*found) continue;
    EXPECT_EQ((**found).first, order_of[seq]);
    EXPECT_EQ((**found).second.seq, seq);
  }
}

TEST_F(OneIndex, IsMadeAnewWhereItDoesNotFit) {
  const std::string journal_of_before = directory_.read("events.jsonl");
  const auto made_anew = [&] {
    anew_.clear();
    bring_up(*writer());
    EXPECT_EQ(anew_.size(), 1u);
    EXPECT_EQ(of_index(), of_journal());
  };
  directory_.write("events.jsonl",
                   journal_of_before.substr(0, journal_of_before.rfind('\n', journal_of_before.size() - 2) + 1));
  EXPECT_NE(why_not().find("its end is not there any more"), std::string::npos) << why_not();
  made_anew();
  directory_.write("labels.json", R"({"labels":["other"]})");
  EXPECT_NE(why_not().find("has other labels"), std::string::npos) << why_not();
  made_anew();
  directory_.write("index.sqlite", "this is no database, but a text that is long enough to be looked at as one");
  EXPECT_NE(why_not().find("not a database"), std::string::npos) << why_not();
  made_anew();
  directory_.write("index.sqlite", "");
  EXPECT_NE(why_not().find("there is no index yet"), std::string::npos) << why_not();
  bring_up(*writer());
  EXPECT_EQ(of_index(), of_journal());
  auto open = writer();
  bring_up(*open);
  std::filesystem::remove(path());
  EXPECT_FALSE(why_not().empty());
  bring_up(*open);
  EXPECT_EQ(of_index(), of_journal()) << "a writer notices that the file was deleted";
  ASSERT_TRUE(writer()->clear());
  EXPECT_NE(why_not().find("there is no index yet"), std::string::npos) << why_not();
  bring_up(*open);
  EXPECT_EQ(of_index(), of_journal());
}

// A limit to the size of files stands in for a full disk.
TEST_F(OneIndex, StaysAsItWasWhereTheDiskIsFull) {
  for (int i = 0; i < 500; ++i) journal(chance_.event());
  const auto full = [&](uint64_t room, Writer& one) {
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit small{room, before.rlim_max};
    const auto handler = ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &small);
    auto step = one.step();
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, handler);
    return step;
  };
  auto one = writer();
  const auto step = full(20'000, *one);
  ASSERT_FALSE(step);
  EXPECT_EQ(step.error().code, Errc::io) << step.error().message;
  EXPECT_EQ(of_index(), of_journal());
  bring_up(*one);
  EXPECT_EQ(taken_, 1000u);
  EXPECT_TRUE(anew_.empty());
  EXPECT_EQ(of_index(), of_journal());
}

TEST_F(OneIndex, OnlyTheOwnerCanReadIt) {
  const auto permissions = std::filesystem::status(path()).permissions();
  EXPECT_EQ(permissions, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

// Whatever stands in the file: an answer or an error, no crash, no end that does not come.
TEST_F(OneIndex, MayHaveAnything) {
  const std::string whole = directory_.read("index.sqlite");
  ASSERT_GT(whole.size(), 4096u);
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 200; ++i) {
    std::string bytes = whole;
    for (int changes = 1 + static_cast<int>(random() % 20); changes > 0; --changes)
      bytes[(i % 2 == 0 ? 0 : 100) + random() % (bytes.size() - 100)] = static_cast<char>(random());
    if (i % 10 == 0) bytes.resize(random() % bytes.size());
    for (const char* name : {"index.sqlite-wal", "index.sqlite-shm"}) std::filesystem::remove(directory() + "/" + name);
    directory_.write("index.sqlite", bytes);
    refused += of_index().starts_with("events ") ? 0 : 1;
    if (i % 10 != 0) continue;
    journal(chance_.event());
    auto one = writer();
    const auto step = one->step();
    EXPECT_TRUE(step || !step.error().message.empty());
  }
  EXPECT_GT(refused, 0);
}

TEST_F(OneIndex, ForgedTablesAreRefused) {
  const auto forge = [&](const std::string& sql) {
    auto database = Database::open(path(), Database::Access::write);
    ASSERT_TRUE(database);
    (*database)->run(sql);
    EXPECT_FALSE((*database)->failure()) << (*database)->failure()->message;
  };
  const auto refused = [&](const std::string& sql, const std::string& why) {
    forge(sql);
    EXPECT_NE(of_index().find(why), std::string::npos) << sql << ": " << of_index().substr(0, 300);
    EXPECT_NE(of_index().find("index.sqlite: "), std::string::npos) << sql;
    std::filesystem::remove(path());
    bring_up(*writer());
    EXPECT_EQ(of_index(), of_journal());
  };
  refused("CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM object; END", "is of another version, or no index");
  refused("DROP INDEX object_pid", "is of another version, or no index");
  refused("PRAGMA user_version = 1", "is of another version, or no index");
  refused("UPDATE meta SET value = 'x' WHERE key = 'events'", "should be a number");
  refused("DELETE FROM meta WHERE key = 'leaks'", "it lacks \"leaks\"");
  refused("UPDATE meta SET value = 5000000000 WHERE key = 'boot'", "is too large");
  refused("UPDATE object SET fs = 1000 WHERE fs IS NOT NULL", "is too large");
  refused("UPDATE object SET detail = x'00' WHERE detail IS NOT NULL", "an object is not in form");
  refused("UPDATE object SET inode = NULL WHERE inode IS NOT NULL", "should be a number");
  refused("INSERT INTO text VALUES (3, 50, x'2a2a')", "a text is not in form");
  refused("DELETE FROM text WHERE list = 0", "its figures are not in form");
  // A ring of directories, each below the next.
  forge("UPDATE name SET parent = node, children = 0");
  (void)of_index();
  journal(chance_.event());
  (void)writer()->step();
}

TEST_F(OneIndex, CannotHaveWhatNoEventHas) {
  Event event;
  event.seq = uint64_t{1} << 63;
  event.set(event::Exited{});
  journal(event);
  const auto step = writer()->step();
  ASSERT_FALSE(step);
  EXPECT_EQ(step.error().code, Errc::limit);
  EXPECT_EQ(of_index(), of_journal()) << "it stays as it was";
}

}  // namespace
}  // namespace oboro::index
