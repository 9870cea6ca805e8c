// How the journal of a run is kept: [journal] of the configuration (docs/cli.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace oboro::store {

struct Keeping {
  static constexpr uint64_t kLeastSegment = 1 << 20;
  static constexpr uint64_t kLeastRate = 64 << 10, kMostRate = uint64_t{1} << 40;
  static constexpr uint64_t kLeastEvents = 100, kMostEvents = 1'000'000'000;

  uint64_t segment = 256 << 20;   // bytes, at which a segment ends; compressed, older ones take less
  std::optional<uint64_t> age_s;  // of its last event: older segments are removed
  std::optional<uint64_t> size;   // bytes, of all files: the oldest segments are removed beyond it
  // What a guest may have written a second, on average: bytes of journal, and events (stream::Flood).
  uint64_t max_rate = 4 << 20;
  uint64_t max_events = 10'000;
  std::string heads;                       // file to which heads are appended; empty: none
  std::vector<std::string> heads_command;  // run with a head as its last argument; empty: none
  uint64_t heads_every_s = 60;

  bool sends_heads() const { return !heads.empty() || !heads_command.empty(); }
  bool operator==(const Keeping&) const = default;
};

}  // namespace oboro::store
