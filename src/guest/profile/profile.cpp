#include "guest/profile/profile.h"

#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <optional>
#include <utility>
#include <vector>

#include "base/number.h"
#include "guest/profile/schema.h"

namespace oboro::guest {
namespace {

constexpr uint32_t kFormatVersion = 1;
constexpr size_t kMaxText = 64 << 10;
constexpr size_t kMaxBuildId = 128;        // hex digits
constexpr size_t kMaxRelease = 64;         // __NEW_UTS_LEN
constexpr uint32_t kMaxOffset = 1 << 20;   // no structure of the kernel's comes near this size
constexpr uint64_t kMaxAddress = 1 << 30;  // the kernel maps its image, and its per-CPU offsets, within 1 GiB

std::string header_line() { return fmt::format("oboro-profile {} {:016x}", kFormatVersion, kSchemaDigest); }

Error refused(std::string_view what, std::string_view detail = {}) {
  return {Errc::invalid, fmt::format("profile: {}{}{}", what, detail.empty() ? "" : " ", detail)};
}

// The next word of a line, up to one space or its end. The line keeps the rest.
std::string_view take_word(std::string_view& line) {
  std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(line.size(), word.size() + 1));
  return word;
}

std::optional<uint64_t> number(std::string_view text, int base) {
  uint64_t value = 0;
  return parse_number(text, value, base) ? std::optional(value) : std::nullopt;
}

template <typename Table>
std::optional<size_t> find_entry(const Table& table, std::string_view id) {
  auto at = std::find_if(table.begin(), table.end(), [&](const SchemaEntry& entry) { return entry.id == id; });
  if (at == table.end()) return std::nullopt;
  return static_cast<size_t>(at - table.begin());
}

bool is_build_id(std::string_view text) {
  return !text.empty() && text.size() <= kMaxBuildId &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_release(std::string_view text) {
  return !text.empty() && text.size() <= kMaxRelease &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

// Reads one line after the header: "build_id HEX", "release TEXT", "field ID DECIMAL", "symbol ID relative|absolute
// HEX". The caller checks order and spelling: it formats the result again.
std::optional<Error> parse_line(std::string_view line, Profile& profile) {
  const std::string_view whole = line;
  const std::string_view keyword = take_word(line);
  if (keyword == "build_id") {
    if (!profile.build_id.empty()) return refused("double entry:", keyword);
    if (!is_build_id(line)) return refused("not a build ID");
    profile.build_id = line;
  } else if (keyword == "release") {
    if (!profile.release.empty()) return refused("double entry:", keyword);
    if (!is_release(line)) return refused("not a kernel release");
    profile.release = line;
  } else if (keyword == "field") {
    const auto at = find_entry(kFieldSchema, take_word(line));
    if (!at) return refused("unknown field");
    if (profile.fields[*at] != Profile::kMissing) return refused("double entry:", kFieldSchema[*at].id);
    const auto value = number(line, 10);
    if (!value || *value > kMaxOffset) return refused("offset out of range:", kFieldSchema[*at].id);
    profile.fields[*at] = static_cast<uint32_t>(*value);
  } else if (keyword == "symbol") {
    const auto at = find_entry(kSymbolSchema, take_word(line));
    if (!at) return refused("unknown symbol");
    SymbolValue& symbol = profile.symbols[*at];
    if (symbol.kind != SymbolValue::Kind::missing) return refused("double entry:", kSymbolSchema[*at].id);
    const std::string_view kind = take_word(line);
    const auto value = number(line, 16);
    if (!value || *value >= kMaxAddress) return refused("address out of range:", kSymbolSchema[*at].id);
    if (kind == "relative") {
      symbol = {SymbolValue::Kind::relative, *value};
    } else if (kind == "absolute") {
      symbol = {SymbolValue::Kind::absolute, *value};
    } else {
      return refused("unknown kind of address:", kSymbolSchema[*at].id);
    }
  } else {
    return refused("unknown kind of entry");
  }
  if (whole.find('\0') != std::string_view::npos) return refused("not text");
  return std::nullopt;
}

std::optional<Error> check_complete(const Profile& profile) {
  if (profile.build_id.empty()) return refused("no build_id");
  if (profile.release.empty()) return refused("no release");
  for (size_t i = 0; i < kFieldCount; ++i)
    if (kFieldSchema[i].presence == Presence::required && profile.fields[i] == Profile::kMissing)
      return refused("missing field", kFieldSchema[i].id);
  for (size_t i = 0; i < kSymbolCount; ++i)
    if (kSymbolSchema[i].presence == Presence::required && profile.symbols[i].kind == SymbolValue::Kind::missing)
      return refused("missing symbol", kSymbolSchema[i].id);
  return std::nullopt;
}

Result<Profile> parse_text(std::string_view text) {
  if (text.size() > kMaxText) return refused("too long");
  Profile profile;
  profile.fields.fill(Profile::kMissing);
  std::string_view rest = text;
  for (bool first = true; !rest.empty(); first = false) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) return refused("cut off");
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (first) {
      if (line != header_line()) return refused("made for another version");
    } else if (auto error = parse_line(line, profile)) {
      return std::move(*error);
    }
  }
  if (auto error = check_complete(profile)) return std::move(*error);
  // One profile has one text: this refuses another order, leading zeros, signs, capitals and stray blanks at one
  // stroke.
  if (profile.format() != text) return refused("not in the form that format() gives");
  return profile;
}

}  // namespace

std::string_view name(Field field) {
  const auto index = static_cast<size_t>(field);
  return index < kFieldCount ? kFieldSchema[index].id : std::string_view("?");
}

std::string_view name(Symbol symbol) {
  const auto index = static_cast<size_t>(symbol);
  return index < kSymbolCount ? kSymbolSchema[index].id : std::string_view("?");
}

std::string Profile::format() const {
  std::string out = fmt::format("{}\nbuild_id {}\nrelease {}\n", header_line(), build_id, release);
  for (size_t i = 0; i < kFieldCount; ++i)
    if (fields[i] != kMissing) out += fmt::format("field {} {}\n", kFieldSchema[i].id, fields[i]);
  for (size_t i = 0; i < kSymbolCount; ++i) {
    const SymbolValue& symbol = symbols[i];
    if (symbol.kind == SymbolValue::Kind::missing) continue;
    out += fmt::format("symbol {} {} {:x}\n", kSymbolSchema[i].id,
                       symbol.kind == SymbolValue::Kind::relative ? "relative" : "absolute", symbol.value);
  }
  return out;
}

Result<Profile> Profile::parse(std::string_view text) {
  try {
    return parse_text(text);
  } catch (const std::exception& error) {  // no memory
    return Error{Errc::limit, error.what()};
  }
}

}  // namespace oboro::guest
