#include "labels/named_places.h"

#include <algorithm>

namespace oboro::labels {
namespace {

uint64_t mixed(uint64_t hash) {
  hash = (hash ^ hash >> 32) * 0xff51afd7ed558ccd;
  hash = (hash ^ hash >> 29) * 0xc4ceb9fe1a85ec53;
  return hash ^ hash >> 32;
}

uint64_t with(uint64_t hash, std::string_view text) {
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return mixed(hash ^ text.size());
}

// Another set in the same bits.
uint64_t as_moved(uint64_t hash) { return mixed(hash ^ 0x9e3779b97f4a7c15); }

// Calls fn(hash, whether it is the path itself) for the root, and for each directory down to the path.
template <typename Fn>
void each_place(uint64_t seed, std::string_view fs, std::string_view path, Fn&& fn) {
  uint64_t hash = with(mixed(seed), fs);
  while (path.ends_with('/')) path.remove_suffix(1);
  fn(hash, path.empty());
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (name.empty()) continue;
    hash = with(hash, name);
    fn(hash, path.empty());
  }
}

constexpr uint64_t kBitMask = NamedPlaces::kWords * 64 - 1;

// Two bits for each.
template <typename Fn>
void each_bit(uint64_t hash, Fn&& fn) {
  for (const uint64_t bit : {hash & kBitMask, hash >> 32 & kBitMask}) fn(bit / 64, uint64_t{1} << bit % 64);
}

}  // namespace

void NamedPlaces::set(uint64_t hash) {
  each_bit(hash, [&](uint64_t word, uint64_t bit) {
    if ((words_[word].load(std::memory_order_relaxed) & bit) == 0) words_[word].fetch_or(bit);
  });
}

bool NamedPlaces::has(uint64_t hash) const {
  bool all = true;
  each_bit(hash, [&](uint64_t word, uint64_t bit) { all = all && (words_[word].load() & bit) != 0; });
  return all;
}

void NamedPlaces::add_name(std::string_view fs, std::string_view path) {
  if (!path.starts_with('/')) return;
  each_place(seed_, fs, path, [&](uint64_t hash, bool itself) {
    if (!itself) set(hash);
  });
}

void NamedPlaces::add_moved(std::string_view fs, std::string_view path) {
  if (!path.starts_with('/')) return;
  each_place(seed_, fs, path, [&](uint64_t hash, bool itself) { set(itself ? as_moved(hash) : hash); });
}

bool NamedPlaces::matter(std::string_view fs, std::string_view path) const {
  if (!path.starts_with('/')) return false;
  bool found = false;
  each_place(seed_, fs, path,
             [&](uint64_t hash, bool itself) { found = found || (itself && has(hash)) || has(as_moved(hash)); });
  return found;
}

NamedPlaces::Content NamedPlaces::content() const {
  Content out{seed_, {}};
  for (uint32_t i = 0; i < kWords; ++i)
    if (const uint64_t word = words_[i].load()) out.words.emplace_back(i, word);
  return out;
}

}  // namespace oboro::labels
