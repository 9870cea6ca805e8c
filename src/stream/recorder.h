// From the ring to the journal. A record leaves the ring only after its line is written, so no record is lost whenever
// either side is killed. A line that a killed run has written already is recognised (marks.h), and left out.
//
// The numbers in the journal only go up, in steps of less than 2^32: a record's number is believed if it does. The
// others are written down without one, and that is told as `lost`: nobody can know what is missing then.
//
// Threads: one at a time.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>

#include "store/journal/appender.h"
#include "stream/flood.h"
#include "stream/marks.h"
#include "stream/ring_reader.h"

namespace oboro::stream {

struct Pumped {
  uint64_t written = 0;     // events
  uint64_t duplicates = 0;  // records that the journal has already
  uint64_t damaged = 0;     // records that were not events, and damage of the ring; the journal says so too
  uint64_t left_out = 0;    // events that are not written (Flood); the journal says so too
  uint64_t unnumbered = 0;  // of those that were written: their number did not follow; the journal says so too
  bool any() const { return written != 0 || duplicates != 0 || damaged != 0 || left_out != 0; }
  Pumped& operator+=(const Pumped& other) {
    written += other.written;
    duplicates += other.duplicates;
    damaged += other.damaged;
    left_out += other.left_out;
    unnumbered += other.unnumbered;
    return *this;
  }
};

class Recorder {
 public:
  // Called with each event that is on its way to the journal, or left out of it, once and in order. Events that are
  // pending in the appender are not in the journal yet.
  using Onlooker = std::function<void(const event::Event&)>;
  Recorder(store::Appender& appender, const store::LabelNames& labels, std::string vm, Onlooker onlooker = {})
      : appender_(appender), labels_(labels), vm_(std::move(vm)), onlooker_(std::move(onlooker)) {}

  // A ring that a killed run has left: what its journal has already is left out.
  void expect_duplicates(std::string state_directory) { directory_ = std::move(state_directory); }

  // From here on pump() leaves out what is beyond the budget, or would take the last part of the disk. Without this, it
  // writes all.
  void limit(Flood flood) { flood_.emplace(std::move(flood)); }
  // Says what was left out and not told yet. Error: as pump(); it stays pending.
  Result<void> tell_left_out();
  // Since the last checkpointed() something was left out, so that the journal does not tell the next run all. It does
  // tell that: each such gap begins with a `flood`, which is in the journal before the first record that is left out
  // leaves the ring.
  bool missing() const { return flood_ && flood_->missing(); }
  void checkpointed() {
    if (flood_) flood_->checkpoint();
  }

  // Moves all records that are there now, but no more than fit into the ring once; or, from a ring that is filled
  // meanwhile, about `at_most` bytes of journal.
  // Error: io (the disk is full...): nothing is lost, and records that are not written stay where they are; call again
  // later. The journal tells of the gap in time once it can be written again.
  Result<Pumped> pump(RingReader& ring, size_t at_most = SIZE_MAX);
  // Records an event of the caller's own. Its time is set if it is 0. Error: as pump(); the event stays pending.
  Result<void> record(event::Event event);

 private:
  void append(const event::Event& event);
  Result<bool> is_duplicate(const event::Event& event);
  void number(event::Event& event, Pumped& pumped);
  void note(event::Event event);  // that it happens now
  std::optional<Flood::Reason> no_room(const event::Event& event, size_t record);
  void leave_out(const event::Event& event, size_t record, Flood::Reason reason);
  void note_left_out(bool all);
  void note(event::Flood flood);
  Result<void> flush();

  store::Appender& appender_;
  const store::LabelNames& labels_;
  std::string vm_;
  Onlooker onlooker_;
  std::optional<Flood> flood_;
  uint32_t boot_ = 0;  // of the last event that was left out
  uint64_t refused_since_ns_ = 0;
  std::string directory_;  // empty: no duplicates are expected
  std::optional<std::multiset<Mark>> marks_;
};

// Moves the records that a killed run has left in DIR/ring to the journal. Does nothing without a ring. A damaged ring
// is renamed to ring.damaged and reported in the journal. Error: io, limit (somebody else reads it).
Result<Pumped> drain_ring(const std::string& state_directory, store::Appender& appender,
                          const store::LabelNames& labels, const std::string& vm);

uint64_t now_ns();  // CLOCK_REALTIME

}  // namespace oboro::stream
