// From the ring to the journal. A record leaves the ring only after its line is written, so no record is lost whenever
// either side is killed. A line that would be written twice is recognised by its sequence number, and left out.
//
// Threads: one at a time.
#pragma once

#include <functional>
#include <string>

#include "store/journal/appender.h"
#include "stream/ring.h"

namespace oboro::stream {

struct Pumped {
  uint64_t written = 0;     // events
  uint64_t duplicates = 0;  // records that the journal has already
  uint64_t damaged = 0;     // records that were not events, and damage of the ring; the journal says so too
  Pumped& operator+=(const Pumped& other) {
    written += other.written;
    duplicates += other.duplicates;
    damaged += other.damaged;
    return *this;
  }
};

class Recorder {
 public:
  // Called with each event that is on its way to the journal, once and in order. Events that are pending in the
  // appender are not in the journal yet.
  using Onlooker = std::function<void(const event::Event&)>;
  Recorder(store::Appender& appender, const store::LabelNames& labels, std::string vm, Onlooker onlooker = {})
      : appender_(appender),
        labels_(labels),
        vm_(std::move(vm)),
        onlooker_(std::move(onlooker)),
        duplicates_until_(appender.last_seq()) {}

  // Moves all records that are there now; or, from a ring that is filled meanwhile, about `at_most` bytes of journal.
  // Error: io (the disk is full...): nothing is lost, and records that are not written stay where they are; call again
  // later. The journal tells of the gap in time once it can be written again.
  Result<Pumped> pump(Ring& ring, size_t at_most = SIZE_MAX);
  // Records an event of the caller's own. Its time is set if it is 0. Error: as pump(); the event stays pending.
  Result<void> record(event::Event event);

 private:
  void append(const event::Event& event);
  void note(event::Event event);  // that it happens now
  Result<void> flush();

  store::Appender& appender_;
  const store::LabelNames& labels_;
  std::string vm_;
  Onlooker onlooker_;
  uint64_t refused_since_ns_ = 0;
  // Records up to this number may be in the journal already: the last run or the last pump was interrupted. Any other
  // record out of order is journaled as it is, because a hostile producer must not be able to hide records by their
  // number.
  uint64_t duplicates_until_;
};

// Moves the records that a killed run has left in DIR/ring to the journal. Does nothing without a ring. A damaged ring
// is renamed to ring.damaged and reported in the journal. Error: io, limit (somebody else reads it).
Result<Pumped> drain_ring(const std::string& state_directory, store::Appender& appender,
                          const store::LabelNames& labels, const std::string& vm);

std::string ring_path(const std::string& state_directory);
uint64_t now_ns();  // CLOCK_REALTIME

}  // namespace oboro::stream
