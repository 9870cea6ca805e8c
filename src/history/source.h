// Where a History's objects are that it does not have in memory: an index of the journal. The History takes from it
// what an event or a question names. What it changes stays in memory, until somebody has written it down
// (History::changes).
//
// A source may be damaged or forged. It says so itself, to whom it belongs: here, what cannot be had is not there.
// Whatever it gives, the History stays within bounds; its answers are not to be believed then.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "history/object.h"
#include "history/path_tree.h"

namespace oboro::history {

class Source : public PathTree::Source {
 public:
  // Without its gains.
  virtual std::optional<TrackedObject> object(ObjectKey key) = 0;
  virtual std::vector<Gain> gains(ObjectKey key) = 0;  // in the order of the events
  // The gains that brought labels from there at later events than `after`, in the order of the events, with the object
  // that has them; 0: a leak (History::reach). Until one is not taken.
  // take() asks nothing of the source.
  using Given = std::function<bool(ObjectKey to, const Gain& gain)>;
  virtual void given(ObjectKey from, uint64_t after, const Given& take) = 0;
  // All of a type: present ones, or ended ones, too.
  virtual void each(event::ObjectType type, bool ended, const std::function<void(TrackedObject)>& take) = 0;
  virtual std::vector<ObjectKey> present_of_boot() = 0;  // what ends with the boot
  // The candidates, the latest first, until one is `right`. Their present state may be another one.
  using Right = std::function<bool(ObjectKey)>;
  virtual void with_pid(uint32_t pid, const Right& right) = 0;
  virtual void last_named(std::string_view path, const Right& right) = 0;  // files without a name
};

}  // namespace oboro::history
