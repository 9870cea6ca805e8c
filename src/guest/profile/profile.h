// A kernel profile: where one kernel build keeps the structures that Oboro reads, and the functions that it hooks. It
// is made from the guest kernel's own kallsyms and BTF (build.h) in a sandboxed process, and cached by build ID. The
// engine side reads it only through this type.
//
// Threads: a Profile is immutable once made.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"

namespace oboro::guest {

enum class Presence : uint8_t { required, optional };
// What the number of a FIELD, SIZE or ENUMERATOR in a profile is.
enum class Measure : uint8_t { offset, size, enumerator };

// One enumerator per FIELD, SIZE and ENUMERATOR line of schema.def, in its order.
enum class Field : uint16_t {
#define FIELD(id, ...) id,
#define SIZE(id, ...) id,
#define ENUMERATOR(id, ...) id,
#define SYMBOL(id, ...)
#include "guest/profile/schema.def"
#undef FIELD
#undef SIZE
#undef ENUMERATOR
#undef SYMBOL
  count
};

// One enumerator per SYMBOL line of schema.def, in its order.
enum class Symbol : uint16_t {
#define FIELD(id, ...)
#define SIZE(id, ...)
#define ENUMERATOR(id, ...)
#define SYMBOL(id, ...) id,
#include "guest/profile/schema.def"
#undef FIELD
#undef SIZE
#undef ENUMERATOR
#undef SYMBOL
  count
};

inline constexpr size_t kFieldCount = static_cast<size_t>(Field::count);
inline constexpr size_t kSymbolCount = static_cast<size_t>(Symbol::count);

std::string_view name(Field field);    // the identifier in schema.def
std::string_view name(Symbol symbol);  // the identifier in schema.def

// A symbol's place. Relative ones move with KASLR; absolute ones are per-CPU offsets (kernels up to 6.14).
struct SymbolValue {
  enum class Kind : uint8_t { missing, relative, absolute };
  Kind kind = Kind::missing;
  uint64_t value =
      0;  // relative: bytes from the image base (the first mapped byte of the kernel image); absolute: as is
};

struct Profile {
  static constexpr uint32_t kMissing = UINT32_MAX;

  std::string build_id;                        // lower-case hex of the kernel's GNU build ID
  std::string release;                         // "6.1.0-49-cloud-amd64", as the kernel's banner says
  std::array<uint32_t, kFieldCount> fields{};  // offsets, sizes, values; kMissing where the kernel has none
  std::array<SymbolValue, kSymbolCount> symbols{};

  uint32_t operator[](Field field) const { return fields[static_cast<size_t>(field)]; }
  const SymbolValue& operator[](Symbol symbol) const { return symbols[static_cast<size_t>(symbol)]; }
  bool has(Field field) const { return (*this)[field] != kMissing; }
  bool has(Symbol symbol) const { return (*this)[symbol].kind != SymbolValue::Kind::missing; }

  // Text form, one line an entry: the cache file, and the output of the sandboxed builder. Its first line names the
  // format version and a digest of schema.def. parse() refuses a text with another first line (the profile is then
  // built anew), unknown, double or out-of-range entries, and a text that lacks required ones.
  std::string format() const;
  static Result<Profile> parse(std::string_view text);
};

}  // namespace oboro::guest
