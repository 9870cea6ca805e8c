#include <algorithm>
#include <deque>
#include <optional>

#include "labels/pattern.h"

namespace oboro::labels {
namespace {

constexpr size_t kMaxGroups = 32;  // of {}

Error invalid(std::string_view text, size_t at, const std::string& what) {
  return {Errc::invalid,
          "pattern \"" + std::string(text) + "\": " + what + " (character " + std::to_string(at + 1) + ")"};
}

struct Lexeme {
  enum class Kind : uint8_t { character, any, set, star, globstar, open, comma, close } kind;
  uint8_t byte = 0;
  uint16_t set = 0;
  bool negated = false;  // a set
  size_t at = 0;         // in the text
};
using Kind = Lexeme::Kind;
using Sequence = std::vector<Lexeme>;

bool is_slash(const Lexeme& lexeme) { return lexeme.kind == Kind::character && lexeme.byte == '/'; }

}  // namespace

class PatternParser {
 public:
  explicit PatternParser(std::string_view text) : text_(text) { pattern_.text_ = text; }

  Result<Pattern> run() {
    if (text_.empty()) return Error{Errc::invalid, "pattern is empty"};
    if (text_.size() > Pattern::kMaxLength)
      return Error{Errc::invalid, "pattern is longer than " + std::to_string(Pattern::kMaxLength) + " bytes"};
    if (text_.front() != '/') return invalid(text_, 0, "does not begin with '/'");
    if (auto error = lex()) return *error;
    if (auto error = multiply_out()) return *error;
    for (const Sequence& sequence : sequences_)
      if (auto error = compile(sequence)) return *error;
    return std::move(pattern_);
  }

 private:
  std::optional<Error> lex() {
    size_t depth = 0;
    size_t groups = 0;
    size_t open_at = 0;
    for (size_t i = 0; i < text_.size(); ++i) {
      const auto byte = static_cast<uint8_t>(text_[i]);
      Lexeme lexeme{.kind = Kind::character, .byte = byte, .at = i};
      switch (byte) {
        case 0:
          return invalid(text_, i, "a NUL is in no path");
        case '\\':
          if (++i == text_.size()) return invalid(text_, i - 1, "nothing follows the '\\'");
          if (text_[i] == '\0') return invalid(text_, i, "a NUL is in no path");
          lexeme.byte = static_cast<uint8_t>(text_[i]);
          break;
        case '?':
          lexeme.kind = Kind::any;
          break;
        case '*':
          lexeme.kind = Kind::star;
          for (; i + 1 < text_.size() && text_[i + 1] == '*'; ++i) lexeme.kind = Kind::globstar;
          break;
        case '{':
          lexeme.kind = Kind::open;
          if (depth++ == 0) open_at = i;
          if (++groups > kMaxGroups) return invalid(text_, i, "more than " + std::to_string(kMaxGroups) + " '{'");
          break;
        case '}':
          if (depth == 0) return invalid(text_, i, "'}' without '{'; for the character itself write \"\\}\"");
          --depth;
          lexeme.kind = Kind::close;
          break;
        case ',':
          if (depth > 0) lexeme.kind = Kind::comma;
          break;
        case '[':
          if (auto error = lex_set(i, lexeme)) return error;
          break;
        default:
          break;
      }
      lexemes_.push_back(lexeme);
    }
    if (depth > 0) return invalid(text_, open_at, "'{' is not closed; for the character itself write \"\\{\"");
    return std::nullopt;
  }

  // Stands at '['. Leaves i at ']'.
  std::optional<Error> lex_set(size_t& i, Lexeme& lexeme) {
    const size_t begin = i++;
    const auto more = [&] { return i < text_.size(); };
    Pattern::Set set{};
    if (more() && (text_[i] == '!' || text_[i] == '^')) {
      lexeme.negated = true;
      ++i;
    }
    for (bool first = true;; first = false) {
      if (!more()) return invalid(text_, begin, "'[' is not closed; for the character itself write \"\\[\"");
      if (text_[i] == ']' && !first) break;
      uint8_t low = 0;
      if (auto error = set_member(i, low)) return error;
      uint8_t high = low;
      if (i + 1 < text_.size() && text_[i] == '-' && text_[i + 1] != ']') {
        const size_t dash = i++;
        if (auto error = set_member(i, high)) return error;
        if (high < low) return invalid(text_, dash, "the range is the wrong way round");
      }
      for (unsigned c = low; c <= high; ++c) set[c / 64] |= uint64_t{1} << (c % 64);
    }
    if (lexeme.negated)
      for (uint64_t& word : set) word = ~word;
    set['/' / 64] &= ~(uint64_t{1} << ('/' % 64));
    lexeme.kind = Kind::set;
    lexeme.set = static_cast<uint16_t>(pattern_.sets_.size());
    pattern_.sets_.push_back(set);
    return std::nullopt;
  }

  std::optional<Error> set_member(size_t& i, uint8_t& out) {
    if (text_[i] == '[' && i + 1 < text_.size() && (text_[i + 1] == ':' || text_[i + 1] == '='))
      return invalid(text_, i, "character classes like [:alpha:] are not supported");
    if (text_[i] == '\\' && ++i == text_.size()) return invalid(text_, i - 1, "nothing follows the '\\'");
    out = static_cast<uint8_t>(text_[i]);
    if (out == '/') return invalid(text_, i, "'/' cannot be in [...]");
    if (out == 0) return invalid(text_, i, "a NUL is in no path");
    if (out >= 0x80) return invalid(text_, i, "only ASCII characters can be in [...]; use {a,b}");
    ++i;
    return std::nullopt;
  }

  // {a,b}c -> ac, bc. Takes one group of one sequence after the other, without recursion.
  std::optional<Error> multiply_out() {
    std::deque<Sequence> work{lexemes_};
    while (!work.empty()) {
      const Sequence sequence = std::move(work.front());
      work.pop_front();
      const auto open =
          std::find_if(sequence.begin(), sequence.end(), [](const Lexeme& l) { return l.kind == Kind::open; });
      if (open == sequence.end()) {
        sequences_.push_back(sequence);
        continue;
      }
      std::vector<Sequence> choices(1);
      auto at = open + 1;
      for (size_t depth = 1;; ++at) {
        if (at->kind == Kind::open) ++depth;
        if (at->kind == Kind::close && --depth == 0) break;
        if (at->kind == Kind::comma && depth == 1) {
          choices.emplace_back();
        } else {
          choices.back().push_back(*at);
        }
      }
      if (work.size() + sequences_.size() + choices.size() > Pattern::kMaxAlternatives)
        return invalid(text_, open->at,
                       "more than " + std::to_string(Pattern::kMaxAlternatives) + " alternatives in all");
      for (const Sequence& choice : choices) {
        Sequence whole(sequence.begin(), open);
        whole.insert(whole.end(), choice.begin(), choice.end());
        whole.insert(whole.end(), at + 1, sequence.end());
        work.push_back(std::move(whole));
      }
    }
    return std::nullopt;
  }

  // True paths have no empty, "." or ".." names: a pattern with one would never match, and nobody would know.
  std::optional<Error> check_names(const Sequence& sequence) {
    size_t begin = 1;
    for (size_t i = 1; i <= sequence.size(); ++i) {
      if (i < sequence.size() && !is_slash(sequence[i])) continue;
      const auto dot = [&](size_t k) { return sequence[k].kind == Kind::character && sequence[k].byte == '.'; };
      const size_t length = i - begin;
      if (length == 0 && i < sequence.size()) return invalid(text_, sequence[i].at, "an empty name (\"//\")");
      if ((length == 1 && dot(begin)) || (length == 2 && dot(begin) && dot(begin + 1)))
        return invalid(text_, sequence[begin].at, "\".\" and \"..\" are in no true path");
      begin = i + 1;
    }
    return std::nullopt;
  }

  std::optional<Error> compile(const Sequence& sequence) {
    using Op = Pattern::Op;
    if (auto error = check_names(sequence)) return error;
    size_t size = sequence.size();
    if (is_slash(sequence[size - 1])) --size;
    Pattern::Alternative out;
    const auto emit = [&](Op op, uint8_t byte = 0, uint16_t set = 0) { out.tokens.push_back({op, byte, set}); };
    for (size_t i = 0; i < size; ++i) {
      const Lexeme& lexeme = sequence[i];
      switch (lexeme.kind) {
        case Kind::any:
          emit(Op::any);
          emit(Op::continuation);
          break;
        case Kind::set:
          emit(Op::set, 0, lexeme.set);
          if (lexeme.negated) emit(Op::continuation);
          break;
        case Kind::star:
          emit(Op::star);
          break;
        case Kind::globstar:
          if (is_slash(sequence[i - 1]) && i + 1 < size && is_slash(sequence[i + 1])) {
            emit(Op::directories);
            ++i;
          } else {
            emit(Op::globstar);
          }
          break;
        default:
          if (out.tokens.empty()) {
            out.prefix += static_cast<char>(lexeme.byte);
          } else {
            emit(Op::literal, lexeme.byte);
          }
      }
    }
    // Each lexeme is at least one character of the text, and at most two tokens.
    if (out.tokens.size() > Pattern::kMaxLength) return invalid(text_, 0, "too long");
    pattern_.alternatives_.push_back(std::move(out));
    return std::nullopt;
  }

  std::string_view text_;
  Pattern pattern_;
  Sequence lexemes_;
  std::vector<Sequence> sequences_;
};

Result<Pattern> Pattern::parse(std::string_view text) { return PatternParser(text).run(); }

Result<Classification> parse_classification(std::string_view text) {
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  size_t equals = std::string_view::npos;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '=') {
      equals = i;
    }
  }
  auto pattern = Pattern::parse(text.substr(0, equals));
  if (!pattern) return pattern.error();
  if (equals == std::string_view::npos) return Classification{std::move(*pattern), "classified"};
  const std::string_view label = text.substr(equals + 1);
  const auto bad = [&](size_t at, const std::string& what) {
    return invalid(text, equals + 1 + at, what + "; if the '=' belongs to the path, write \"\\=\"");
  };
  if (label.empty()) return bad(0, "no label after '='");
  if (const size_t at = label.find_first_not_of(kAllowed); at != label.npos)
    return bad(at, "a label name is made of A-Z a-z 0-9 _ . -");
  if (label.size() > 32) return bad(32, "a label name has at most 32 characters");
  return Classification{std::move(*pattern), std::string(label)};
}

}  // namespace oboro::labels
