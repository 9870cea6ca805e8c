// Which directories matter when they are renamed: those with a name of a file below them that whoever follows the
// events knows (history/path_tree.h). All other renames change nothing for him, and anybody in the guest can make as
// many of them as he likes.
//
// It goes by the names that the events have, as the follower does. A place is a set of bits by its hash, in a table
// that never grows, and nothing is ever taken out: it says yes too often, never no too often.
//
// Threads: any. Whoever adds is seen by those that ask after him.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace oboro::labels {

class NamedPlaces {
 public:
  static constexpr size_t kWords = 1 << 14;
  // Its bits by word, for words that are not 0; and what they were made with.
  struct Content {
    uint64_t seed = 0;
    std::vector<std::pair<uint32_t, uint64_t>> words;  // index below kWords
    bool operator==(const Content&) const = default;
  };

  // seed: by it, nobody can tell which names have the same bits.
  explicit NamedPlaces(uint64_t seed = 0) : seed_(seed) {}
  explicit NamedPlaces(const Content& content) : seed_(content.seed) {
    for (const auto& [index, word] : content.words) words_[index % kWords] = word;
  }
  Content content() const;

  // A file has this path on this file system (event::Object::fs): the directories above it matter.
  void add_name(std::string_view fs, std::string_view path);
  // A directory that matters has this path now. Nobody knows here what is below it: all directories there matter.
  void add_moved(std::string_view fs, std::string_view path);
  // Of a directory, by the path that it had before. A path that is not absolute (it was too long) is nobody's name.
  bool matter(std::string_view fs, std::string_view path) const;

 private:
  void set(uint64_t hash);
  bool has(uint64_t hash) const;

  const uint64_t seed_;
  std::array<std::atomic<uint64_t>, kWords> words_{};
};

}  // namespace oboro::labels
