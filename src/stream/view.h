// All events of a state directory, in order: the journal and, behind it, what still waits in the ring of a run that
// goes on or was killed. Changes nothing; works while the guest runs and after.
//
// Threads: one at a time.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <unordered_set>

#include "event/event.h"
#include "store/journal.h"
#include "store/label_names.h"

namespace oboro::stream {

class EventView {
 public:
  // Errors: not_found (no journal there), invalid, io.
  static Result<EventView> open(const std::string& state_directory);

  // False: there is no further one now.
  Result<bool> next(event::Event& event);
  // Sleeps until there may be a further one, at most timeout_ms.
  void wait(int timeout_ms);

  const store::LabelNames& labels() const { return labels_; }
  const std::string& vm() const { return vm_; }  // of the last event that named it
  const store::Damage& damage() const { return reader_.damage(); }
  size_t unfinished() const { return reader_.unfinished(); }
  // What is wrong with the ring, if something is.
  const std::string& ring_problem() const { return ring_problem_; }

 private:
  EventView(std::string state_directory, store::JournalReader reader, store::LabelNames labels, UniqueFd watch)
      : directory_(std::move(state_directory)),
        reader_(std::move(reader)),
        labels_(std::move(labels)),
        watch_(std::move(watch)) {}
  void look_into_ring();

  std::string directory_;
  store::JournalReader reader_;
  store::LabelNames labels_;
  UniqueFd watch_;
  std::string vm_;
  std::string ring_problem_;
  bool fresh_ = false;  // from_ring_ was filled before the journal is read to its end
  std::deque<event::Event> from_ring_;
  std::unordered_set<uint64_t> shown_;  // sequence numbers given out from the ring: the journal will have them later
  uint64_t last_seq_ = 0;               // of the journal
};

}  // namespace oboro::stream
