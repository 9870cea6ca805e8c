// A managed object, as a History knows it.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "event/event.h"
#include "history/path_tree.h"

namespace oboro::history {

// Identity of an object: its type in the high byte.
using ObjectKey = uint64_t;
constexpr uint64_t kIdMask = (uint64_t{1} << 56) - 1;
constexpr ObjectKey object_key(event::ObjectType type, uint64_t id) {
  return static_cast<uint64_t>(type) << 56 | (id & kIdMask);
}

constexpr uint64_t kNoPlace = ~uint64_t{0};

// The event that gave an object labels that it did not have.
struct Gain {
  uint64_t order = 0;  // the event's place among all, from 1
  uint64_t labels = 0;
  ObjectKey from = 0;         // 0: classified by a pattern, or unknown
  bool classified = false;    // by a pattern: the beginning of a chain
  uint64_t place = kNoPlace;  // of the event's line in the journal, if it has one
};

struct FileDetail {
  uint64_t inode = 0;
  uint32_t generation = 0;
  uint32_t fs = 0;       // of Figures::words
  uint32_t fs_type = 0;  // of Figures::words
  bool unlinked = false;
  std::vector<PathTree::Node> names;
  std::string last_path;  // once it has no name
};

// The details of everything that is neither file nor process.
struct SocketDetail {
  std::string path;  // of a terminal, a queue, a segment
  std::string protocol;
  event::Endpoint local;
  event::Endpoint remote;
};

struct TrackedObject {
  event::ObjectType type = event::ObjectType::none;
  uint64_t id = 0;
  uint64_t labels = 0;
  uint64_t since_ns = 0;
  uint64_t since_order = 0;
  bool ended = false;
  std::vector<Gain> gains;  // at most 64: each brings a label. Not those that a Source has
  std::variant<std::monostate, FileDetail, event::Subject, SocketDetail> detail;
};

// A file system identity that outlives a boot: a UUID, not "dev 0:23".
bool is_persistent(std::string_view fs);

}  // namespace oboro::history
