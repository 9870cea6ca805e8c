// The hash chain of the journal: each line ends with a hash of itself and of the one before it, so that no line can be
// changed, removed or added without changing all that come after it. It is no signature: whoever may write in the state
// directory can make a new chain. A head that was sent elsewhere in time shows that (`oboro verify --heads`).
//
//   {...,"hash":"H"}     H = SHA-256 of the H before it, '\n', and the line up to the comma before "hash"
//
// All in hexadecimal digits; the H before the first line is 64 zeros. docs/formats.md has it in Python.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace oboro::store {

inline constexpr size_t kHashDigits = 64;
inline const std::string kNoHash(kHashDigits, '0');  // before the first line

std::string hash_of(std::string_view previous, std::string_view text);

struct HashedLine {
  std::string_view text;  // what was hashed
  std::string_view hash;
};
// Nothing: the line has no hash at its end.
std::optional<HashedLine> split_hash(std::string_view line);

// Adds the hash to the object that begins at `begin` of `out` and ends it; returns it.
std::string append_hash(std::string_view previous, size_t begin, std::string& out);

}  // namespace oboro::store
