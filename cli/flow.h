// What the verbs share that follow labels: which object a person means, and the events that a way consists of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cli/load.h"
#include "event/event.h"
#include "history/history.h"
#include "store/json.h"

namespace oboro::cli {

// PATH, PID, an identity such as s12, or @SEQ.
class Named {
 public:
  static constexpr char kForms[] = "PATH in the guest, PID, identity, or @SEQ of a leak";
  static constexpr char kObjects[] = R"(  /tmp/copy.txt   a file by its name in the guest
  812             the latest managed process with this PID
  s12             an object by its identity, as oboro list shows it
)";
  static constexpr char kLeak[] = "  @57             a leak, by the number of its event\n";

  static Result<Named> parse(const std::string& what);  // errors: invalid
  const std::string& what() const { return what_; }
  uint64_t seq() const { return seq_; }  // of a leak; else 0
  // Null: it is not managed. Not for a leak.
  const history::TrackedObject* find(const history::History& state) const;

 private:
  std::string what_;
  uint32_t pid_ = 0;
  uint64_t seq_ = 0;
  history::ObjectKey key_ = 0;
};

using Events = std::unordered_map<uint64_t, event::Event>;  // by their place among all
using Numbered = std::optional<std::pair<uint64_t, event::Event>>;

// Watches the events go by. Neither the state nor this object holds them, but for those that have no place in the
// journal yet.
class Trail {
 public:
  explicit Trail(uint64_t leak_seq) : leak_seq_(leak_seq) {}

  // As a Question's.
  void begin();
  void saw(const Loaded& loaded, const event::Event& event);
  // The leak that is asked for. It may be before all events that were seen.
  Result<Numbered> leak(Loaded& loaded) const;
  Result<void> fetch(stream::Reader& reader, const history::Chain::Step& step, Events& out) const;
  Result<Events> fetch(stream::Reader& reader, const std::vector<history::Chain>& chains) const;

 private:
  uint64_t leak_seq_;
  std::optional<std::pair<uint64_t, uint64_t>> seen_;
  Events of_ring_;
  Numbered leak_;
};

// The way or ways by which an object, or a leak, got its labels.
struct Ways {
  std::string not_found;  // why there is nothing to show; empty: there is
  event::Object object;
  std::vector<history::Chain> chains;
  Events events;
};
// From `origin` on; null: from the beginning.
Result<Ways> ways_to(Loaded& loaded, const Trail& trail, const Named& named, const Named* origin);
// Prints what ways_to() says, and returns the exit code.
int show_ways(const std::string& directory, const Named& named, const Named* origin, bool as_json);

}  // namespace oboro::cli
