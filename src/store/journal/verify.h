// Whether the journal is what was written: its hash chain (chain.h), from the oldest line that is there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/journal/chain.h"

namespace oboro::store {

// How far the journal had come at some time. Kept where the host's root cannot reach it, it shows later that all before
// it is what it was.
struct Head {
  uint64_t offset = 0;  // behind the line
  uint64_t seq = 0;     // of the last event that has one
  std::string hash = kNoHash;

  bool operator==(const Head&) const = default;
  // `{"time":"2026-11-30T10:00:00.000000000Z","vm":"demo","offset":20480,"seq":57,"hash":"..."}`
  std::string line(uint64_t time_ns, std::string_view vm) const;
};
// Heads, a line each. Error: invalid (which line).
Result<std::vector<Head>> parse_heads(std::string_view text, const std::string& where);

struct Verified {
  struct Problem {
    uint64_t number = 0;  // of the line, from 1, in the segments that are there
    uint64_t offset = 0;  // where it begins
    uint64_t seq = 0;     // its event's; 0: none
    std::string what;
  };
  uint64_t begin = 0;         // of the oldest line that is there; what is older was removed by retention
  uint64_t lines = 0;         // that were read, up to the problem
  uint64_t without_hash = 0;  // at the journal's beginning: written by a version that had no chain
  uint64_t heads = 0;         // that were found
  uint64_t old_heads = 0;     // that are before `begin`
  Head head;                  // of the last line
  std::optional<Problem> problem;
};

// `progress` is called now and then with how many bytes were read, and how many there are. Errors: not_found (no
// journal), io.
Result<Verified> verify(const std::string& state_directory, std::vector<Head> heads = {},
                        const std::function<void(uint64_t done, uint64_t all)>& progress = {});

}  // namespace oboro::store
