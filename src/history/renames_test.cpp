// Of the renames of directories only those are told by which a name that is known changes. The names that a History has
// are the true ones all the same: here those of a small file system in which anything happens, by chance.
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "history/history.h"
#include "labels/named_places.h"
#include "tests/support/store/testing.h"

namespace oboro::history {
namespace {

using event::Event;
using event::Kind;

constexpr char kFs[] = "11111111-2222-3333-4444-555555555555";

struct File {
  uint64_t inode = 0;
  uint64_t id = 0;  // of a file with labels
  File* above = nullptr;
  std::string name;
  bool directory = false;
  std::map<std::string, std::unique_ptr<File>> below;
};

// What the kernel does, and what the tracer tells of it (src/hooks/file_hooks.cpp).
class FileSystem {
 public:
  explicit FileSystem(uint32_t seed) : random_(seed), places_(seed) { root_.directory = true; }

  void step() {
    size_t count = 0;
    each(root_, [&](File&) { ++count; });
    switch (below(16)) {
      case 0:
      case 1:
      case 2:
        return count < 9 ? make(true) : remove();
      case 3:
        return count < 9 ? make(false) : remove();
      case 4:
      case 5:
        return remove();
      case 6:
        return exchange();
      case 7:
        return label();
      default:
        return move();
    }
  }
  void expect_true_names() {
    each(root_, [&](File& file) {
      if (file.id == 0) return;
      const auto* known = state.find(object_key(event::ObjectType::file, file.id));
      ASSERT_NE(known, nullptr);
      ASSERT_EQ(state.paths(*known), std::vector<std::string>{path(file)}) << "after " << told << " events";
    });
  }

  History state;
  uint64_t told = 0, untold = 0;

 private:
  uint32_t below(size_t bound) { return static_cast<uint32_t>(random_() % bound); }
  template <typename Fn>
  static void each(File& file, Fn&& fn) {
    for (auto& [name, one] : file.below) {
      fn(*one);
      each(*one, fn);
    }
  }
  static std::string path(const File& file) { return file.above == nullptr ? "" : path(*file.above) + "/" + file.name; }
  static bool is_above(const File& upper, const File* lower) {
    for (; lower != nullptr; lower = lower->above)
      if (lower == &upper) return true;
    return false;
  }
  File* some(bool directory) {
    std::vector<File*> all;
    if (directory) all.push_back(&root_);
    each(root_, [&](File& file) {
      if (!directory || file.directory) all.push_back(&file);
    });
    return all.empty() ? nullptr : all[below(all.size())];
  }
  std::string some_name() { return std::string(1, static_cast<char>('a' + below(3))); }
  // A place for a file: a directory, and a name in it.
  std::pair<File*, std::string> some_place() { return {some(true), some_name()}; }

  void tell(Kind kind, const File& file, const std::string& at, const std::string& old = {}) {
    ++told;
    event::Object object = store::testing::file(file.id, at, kFs);
    object.inode = file.inode;
    Event event = events_.make(kind, object, {}, file.id != 0 ? 1 : 0);
    if (kind == Kind::renamed) event.set(event::Renamed{old});
    places_.add_name(kFs, at);
    state.apply(event);
  }
  bool tell_move(const File& file, const std::string& old, const std::string& now, bool other_half = false) {
    if (file.directory) {
      const bool matters = other_half || places_.matter(kFs, old);
      untold += !matters;
      if (!matters) return false;
      places_.add_moved(kFs, now);
    } else if (file.id == 0) {
      return false;
    }
    tell(Kind::renamed, file, now, old);
    return true;
  }

  void make(bool directory) {
    const auto [above, name] = some_place();
    if (above->below.contains(name)) return;
    auto& made = above->below[name] = std::make_unique<File>();
    made->inode = ++last_inode_;
    made->above = above;
    made->name = name;
    made->directory = directory;
  }
  void label() {
    File* const file = some(false);
    if (file == nullptr || file->directory || file->id != 0) return;
    file->id = ++last_id_;
    tell(Kind::classified, *file, path(*file));
  }
  void tell_end(const File& file) {
    if (file.id == 0) return;
    tell(Kind::unlinked, file, path(file));
    tell(Kind::removed, file, "");
  }
  void remove() {
    File* const file = some(false);
    if (file == nullptr || !file->below.empty()) return;
    tell_end(*file);
    file->above->below.erase(std::string(file->name));
  }
  void move() {
    File* const file = some(false);
    const auto [above, name] = some_place();
    if (file == nullptr || is_above(*file, above)) return;
    const auto there = above->below.find(name);
    if (there != above->below.end()) {
      const File& old = *there->second;
      if (&old == file || old.directory != file->directory || !old.below.empty()) return;
      tell_end(old);
    }
    tell_move(*file, path(*file), path(*above) + "/" + name);
    put(take(*file), above, name);
  }
  void exchange() {
    File *const one = some(false), *const other = some(false);
    if (one == nullptr || is_above(*one, other) || is_above(*other, one)) return;
    const std::string here = path(*one), there = path(*other);
    tell_move(*other, there, here, tell_move(*one, here, there));
    File *const above = one->above, *const other_above = other->above;
    const std::string name = one->name, other_name = other->name;
    auto first = take(*one), second = take(*other);
    put(std::move(first), other_above, other_name);
    put(std::move(second), above, name);
  }
  static std::unique_ptr<File> take(File& file) { return std::move(file.above->below.extract(file.name).mapped()); }
  static void put(std::unique_ptr<File> file, File* above, const std::string& name) {
    file->above = above;
    file->name = name;
    above->below[name] = std::move(file);
  }

  std::mt19937 random_;
  labels::NamedPlaces places_;
  store::testing::Events events_;
  File root_;
  uint64_t last_inode_ = 0, last_id_ = 0;
};

TEST(Renames, ThoseThatAreToldAreEnoughForTheTrueNames) {
  uint64_t told = 0, untold = 0;
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    FileSystem files(seed);
    for (int i = 0; i < 400; ++i) {
      files.step();
      ASSERT_NO_FATAL_FAILURE(files.expect_true_names()) << "seed " << seed << ", step " << i;
    }
    told += files.told, untold += files.untold;
  }
  EXPECT_GT(untold, 1000u) << "of " << told;
}

}  // namespace
}  // namespace oboro::history
