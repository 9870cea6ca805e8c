// The rules for what is classified and hidden: one type for each, from the configuration file to the tracer. And the
// settings that `oboro run` gives the engine side at its start, in an inherited memory file: text, one line an entry.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "labels/file_identity.h"
#include "labels/named_places.h"
#include "policy/policy.h"

namespace oboro::link {

struct KnownFile {
  labels::FileIdentity identity;  // persistent ones only
  uint64_t labels = 0;
  uint64_t id = 0;
};

struct ClassifyRule {
  std::string pattern;  // valid: labels::Pattern::parse takes it
  uint64_t labels = 0;
  std::string label{};  // the host's alone: the name that stands for them
};

struct HiddenService {
  std::string name;       // [A-Za-z0-9_.-]{1,32}
  std::string exe, unit;  // at least one
  bool children = false;
  bool network = false;            // "remote"
  std::vector<std::string> files;  // valid patterns
  // Only for the host: where the service's proxy may go (proxy/destination.h; nothing: to every other host); the ports
  // that it may bind; its limits in bytes and descriptors (proxy/limits.h).
  std::optional<std::vector<std::string>> to{};
  std::vector<uint16_t> listen{};
  std::optional<uint64_t> max_memory{}, max_files{}, max_disk{};
};

// The words of `[safety]`.
constexpr std::array<std::pair<std::string_view, policy::Trouble>, 4> kTroubles = {
    {{"on_incomplete", policy::Trouble::incomplete},
     {"on_full_table", policy::Trouble::full_table},
     {"on_journal_unavailable", policy::Trouble::journal},
     {"on_supervisor_loss", policy::Trouble::supervisor_loss}}};
constexpr std::array<std::pair<std::string_view, policy::Reaction>, 5> kReactions = {
    {{"report", policy::Reaction::report},
     {"deny", policy::Reaction::deny},
     {"pause", policy::Reaction::pause},
     {"kill", policy::Reaction::kill},
     {"detach", policy::Reaction::detach}}};

// How a hidden service's thread lets time pass while its proxy works (docs/hiding.md).
enum class Wait : uint8_t {
  block,  // the vCPU stands still meanwhile (the older method, for comparison)
  yield,  // sched_yield in the guest's kernel until the answer is there (the paper's)
  park,   // a few of those, or for a moment the first, then sleeps (docs/decisions/011)
};
constexpr std::array<std::pair<std::string_view, Wait>, 3> kWaits = {
    {{"block", Wait::block}, {"yield", Wait::yield}, {"park", Wait::park}}};

// The value of a word in such a list, and the reverse.
template <typename T, size_t kCount>
std::optional<T> value_of(const std::array<std::pair<std::string_view, T>, kCount>& words, std::string_view word) {
  for (const auto& [name, value] : words)
    if (name == word) return value;
  return std::nullopt;
}
template <typename T, size_t kCount>
std::string_view word_for(const std::array<std::pair<std::string_view, T>, kCount>& words, T value) {
  for (const auto& [name, known] : words)
    if (known == value) return name;
  return {};
}

struct Settings {
  static constexpr uint64_t kDefaultCapacity = 1 << 24, kMinCapacity = 16, kMaxCapacity = 1 << 26;

  std::vector<ClassifyRule> rules;
  std::vector<KnownFile> files;
  labels::NamedPlaces::Content places;  // of their names
  // Labels of earlier runs may be missing from `files`: the journal was not written in full, and what would make up for
  // that is not there.
  bool labels_missing = false;
  uint64_t first_id = 1;
  uint64_t first_seq = 1;
  uint32_t boot = 1;
  uint64_t capacity = kDefaultCapacity;  // managed objects, at most; a file in use counts twice
  policy::Policy policy;
  std::vector<HiddenService> services;  // their proxies: Start::proxies, in the same order
  Wait wait = Wait::park;               // of hidden services

  std::string format() const;
  static Result<Settings> parse(std::string_view text);  // errors: invalid (line)
};

}  // namespace oboro::link
