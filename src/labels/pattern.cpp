#include "labels/pattern.h"

#include <bit>

namespace oboro::labels {
namespace {

constexpr size_t kWords = (Pattern::kMaxLength + 2 + 63) / 64;

// The places in a pattern at which a match may stand.
class Places {
 public:
  void add(size_t place) { words_[place / 64] |= uint64_t{1} << (place % 64); }
  bool has(size_t place) const { return (words_[place / 64] >> (place % 64) & 1) != 0; }
  // Calls fn(place) for each below `count`, in order.
  template <typename Fn>
  void each(size_t count, Fn&& fn) const {
    for (size_t w = 0; w * 64 < count; ++w)
      for (uint64_t rest = words_[w]; rest != 0; rest &= rest - 1) {
        const size_t place = w * 64 + static_cast<size_t>(std::countr_zero(rest));
        if (place < count) fn(place);
      }
  }
  bool none(size_t count) const {
    for (size_t w = 0; w * 64 < count; ++w)
      if (words_[w] != 0) return false;
    return true;
  }
  void clear(size_t count) {
    for (size_t w = 0; w * 64 < count; ++w) words_[w] = 0;
  }

 private:
  std::array<uint64_t, kWords> words_{};
};

}  // namespace

bool Pattern::step(const Token& token, uint8_t byte) const {
  switch (token.op) {
    case Op::literal:
      return byte == token.byte;
    case Op::any:
    case Op::star:
      return byte != '/';
    case Op::continuation:
      return (byte & 0xc0) == 0x80;
    case Op::set:
      return (sets_[token.set][byte / 64] >> (byte % 64) & 1) != 0;
    case Op::globstar:
    case Op::directories:
      return true;
  }
  return false;
}

bool Pattern::match(const Alternative& alternative, std::string_view path, bool beginning) const {
  if (!path.starts_with(alternative.prefix)) return false;
  const auto& tokens = alternative.tokens;
  const size_t accept = tokens.size();
  Places now;
  Places next;
  // Adds a place, and the places behind it that can be reached without a byte.
  const auto come = [&](Places& places, size_t place) {
    for (; !places.has(place); ++place) {
      places.add(place);
      if (place == accept) return;
      const Op op = tokens[place].op;
      if (op != Op::star && op != Op::globstar && op != Op::continuation && op != Op::directories) return;
    }
  };
  come(now, 0);
  for (size_t at = alternative.prefix.size(); at < path.size(); ++at) {
    const auto byte = static_cast<uint8_t>(path[at]);
    if (byte == '/' && now.has(accept)) return true;  // everything below is covered
    next.clear(accept + 1);
    now.each(accept, [&](size_t place) {
      const Token& token = tokens[place];
      if (!step(token, byte)) return;
      switch (token.op) {
        case Op::star:
        case Op::globstar:
        case Op::continuation:
          come(next, place);
          break;
        case Op::directories:  // whole names and their '/': the match goes on behind it only after a '/'
          next.add(place);
          if (byte == '/') come(next, place + 1);
          break;
        default:
          come(next, place + 1);
      }
    });
    std::swap(now, next);
    if (now.none(accept + 1)) return false;
  }
  return beginning || now.has(accept);
}

bool Pattern::match(std::string_view path) const {
  if (!path.starts_with('/')) return false;
  for (const Alternative& alternative : alternatives_)
    if (match(alternative, path, false)) return true;
  return false;
}

bool Pattern::may_match_below(std::string_view old_directory, std::string_view new_directory) const {
  const std::string old_path = std::string(old_directory) + "/", new_path = std::string(new_directory) + "/";
  for (const Alternative& alternative : alternatives_) {
    const std::string& prefix = alternative.prefix;
    const bool anywhere = !alternative.tokens.empty() &&
                          (alternative.tokens[0].op == Op::globstar || alternative.tokens[0].op == Op::directories);
    if (anywhere && old_path.starts_with(prefix) && new_path.starts_with(prefix))
      continue;  // matches by the new path as by the old one
    if (old_path.size() <= prefix.size() ? prefix.starts_with(old_path) : match(alternative, old_path, true))
      return true;
  }
  return false;
}

bool PatternSet::add(Pattern pattern, uint64_t labels) {
  if (patterns_.size() == kMaxPatterns) return false;
  patterns_.push_back({std::move(pattern), labels});
  return true;
}

uint64_t PatternSet::match(std::string_view path) const {
  uint64_t labels = 0;
  for (const Entry& entry : patterns_)
    if ((entry.labels & ~labels) != 0 && entry.pattern.match(path)) labels |= entry.labels;
  return labels;
}

bool PatternSet::may_match_below(std::string_view old_directory, std::string_view new_directory) const {
  for (const Entry& entry : patterns_)
    if (entry.pattern.may_match_below(old_directory, new_directory)) return true;
  return false;
}

const Pattern* PatternSet::first_match(std::string_view path) const {
  for (const Entry& entry : patterns_)
    if (entry.pattern.match(path)) return &entry.pattern;
  return nullptr;
}

}  // namespace oboro::labels
