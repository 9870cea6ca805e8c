// schema.def as data, for the reader of a profile (identifiers, presence) and its builder (paths and names).
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <string_view>

#include "guest/profile/profile.h"

namespace oboro::guest {

// What one line of schema.def says.
struct SchemaEntry {
  static constexpr size_t kMaxAlternatives = 4;

  std::string_view id;
  Presence presence = Presence::optional;
  Measure measure = Measure::offset;                              // of a FIELD, SIZE or ENUMERATOR
  bool suffix_ok = false;                                         // SUFFIX_OK
  std::array<std::string_view, kMaxAlternatives> alternatives{};  // in order of preference; unused ones are empty
};

namespace schema_words {
struct SuffixOk {};
inline constexpr SuffixOk SUFFIX_OK;
inline constexpr Presence REQUIRED = Presence::required;
inline constexpr Presence OPTIONAL = Presence::optional;

template <typename... Words>
consteval SchemaEntry make_entry(std::string_view id, Measure measure, Presence presence, Words... words) {
  SchemaEntry entry{.id = id, .presence = presence, .measure = measure};
  size_t count = 0;
  auto add = [&](auto word) {
    if constexpr (std::same_as<decltype(word), SuffixOk>) {
      entry.suffix_ok = true;
    } else {
      entry.alternatives.at(count++) = word;  // too many alternatives do not compile
    }
  };
  (add(words), ...);
  return entry;
}

inline constexpr std::array<SchemaEntry, kFieldCount> kFieldTable = {
#define FIELD(id, ...) make_entry(#id, Measure::offset, __VA_ARGS__),
#define SIZE(id, ...) make_entry(#id, Measure::size, __VA_ARGS__),
#define ENUMERATOR(id, ...) make_entry(#id, Measure::enumerator, __VA_ARGS__),
#define SYMBOL(id, ...)
#include "guest/profile/schema.def"
#undef FIELD
#undef SIZE
#undef ENUMERATOR
#undef SYMBOL
};

inline constexpr std::array<SchemaEntry, kSymbolCount> kSymbolTable = {
#define FIELD(id, ...)
#define SIZE(id, ...)
#define ENUMERATOR(id, ...)
#define SYMBOL(id, ...) make_entry(#id, Measure::offset, __VA_ARGS__),
#include "guest/profile/schema.def"
#undef FIELD
#undef SIZE
#undef ENUMERATOR
#undef SYMBOL
};
}  // namespace schema_words

inline constexpr const auto& kFieldSchema = schema_words::kFieldTable;    // indexed by Field
inline constexpr const auto& kSymbolSchema = schema_words::kSymbolTable;  // indexed by Symbol

// FNV-1a over the lines of schema.def without white space and comments. If two builds have the same digest, each entry
// of a profile's text means the same to both.
inline constexpr uint64_t kSchemaDigest = [] {
  constexpr std::string_view text =
#define FIELD(...) "FIELD(" #__VA_ARGS__ ")\n"
#define SIZE(...) "SIZE(" #__VA_ARGS__ ")\n"
#define ENUMERATOR(...) "ENUMERATOR(" #__VA_ARGS__ ")\n"
#define SYMBOL(...) "SYMBOL(" #__VA_ARGS__ ")\n"
#include "guest/profile/schema.def"
#undef FIELD
#undef SIZE
#undef ENUMERATOR
#undef SYMBOL
      ;
  uint64_t digest = 0xcbf29ce484222325;
  for (char c : text) digest = (digest ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return digest;
}();

}  // namespace oboro::guest
