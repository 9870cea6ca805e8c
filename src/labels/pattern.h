// Which files are classified: patterns of true paths. Pure; used on vCPU threads.
//
//   *        anything within one name            ?       one character within a name
//   **       anything, '/' included              [a-z]   one of these (ASCII); [!a-z] one that is none of these
//   {a,b}    one of these, which may be patterns \x      x itself
//
// `/**/` also matches a single '/'. A pattern that matches a directory covers everything below it: /srv/secret,
// /srv/secret/ and /srv/secret/** are all the same but for the directory itself, which the last one leaves out.
// Names are bytes. `?` takes one byte, or one UTF-8 character.
//
// Cost of a match: at most length of the path times length of the pattern, no allocation, no recursion.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace oboro::labels {

class Pattern {
 public:
  static constexpr size_t kMaxLength = 1024;       // bytes
  static constexpr size_t kMaxAlternatives = 256;  // after {a,b} is multiplied out

  // Error: invalid (what, and at which character, from 1).
  static Result<Pattern> parse(std::string_view text);

  bool match(std::string_view path) const;
  // Whether a directory that is renamed may hold files that match by their old path, but perhaps not by their new one.
  // Allocates.
  bool may_match_below(std::string_view old_directory, std::string_view new_directory) const;
  const std::string& text() const { return text_; }

 private:
  friend class PatternParser;
  enum class Op : uint8_t { literal, any, continuation, set, star, globstar, directories };
  struct Token {
    Op op;
    uint8_t byte;  // of literal
    uint16_t set;  // index into sets_
  };
  using Set = std::array<uint64_t, 4>;
  struct Alternative {
    std::string prefix;  // what every match begins with
    std::vector<Token> tokens;
  };
  // beginning: whether a path that begins so can match.
  bool match(const Alternative& alternative, std::string_view path, bool beginning) const;
  bool step(const Token& token, uint8_t byte) const;

  std::string text_;
  std::vector<Alternative> alternatives_;
  std::vector<Set> sets_;
};

struct Classification {
  Pattern pattern;
  std::string label;
};

// PATTERN[=LABEL], at the last '=' that is not written "\="; without one the label is "classified". A label name is
// [A-Za-z0-9_.-]{1,32}. Error: invalid.
Result<Classification> parse_classification(std::string_view text);

class PatternSet {
 public:
  static constexpr size_t kMaxPatterns = 1024;
  // False: there are kMaxPatterns already.
  bool add(Pattern pattern, uint64_t labels);
  // The labels of all patterns that cover this path.
  uint64_t match(std::string_view path) const;
  bool may_match_below(std::string_view old_directory, std::string_view new_directory) const;
  // The first pattern that covers it, for the event; null: none.
  const Pattern* first_match(std::string_view path) const;
  bool empty() const { return patterns_.empty(); }

 private:
  struct Entry {
    Pattern pattern;
    uint64_t labels;
  };
  std::vector<Entry> patterns_;
};

}  // namespace oboro::labels
