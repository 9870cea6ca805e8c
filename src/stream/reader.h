// All events of a state directory, in order, for every subscriber: the verbs of the command line, exporters. It reads
// the journal, and after a run that was killed also the events that still wait in the ring. It changes nothing, and
// works while the guest runs and after. A slow reader keeps nobody waiting, because it only reads files.
//
// At least once: a subscriber stores cursor() when it is done with an event, and opens with that later. Then it misses
// no event, whichever process was killed in between. It may get twice the events after the stored cursor, and those
// from the ring: these have a place in the journal only after the next run has brought them over. One Reader gives no
// event twice.
//
// Threads: one at a time.
#pragma once

#include <deque>
#include <optional>
#include <set>
#include <string>

#include "event/event.h"
#include "store/journal/reader.h"
#include "store/label_names.h"
#include "stream/cursor.h"
#include "stream/marks.h"

namespace oboro::stream {

// What reading the events up to some place has shown of the journal besides them.
struct ReadSoFar {
  uint64_t lines = 0;  // 0: not known
  store::Damage damage;
  std::string vm;
  store::LabelNames labels;
};

class Reader {
 public:
  // Goes on behind the cursor without reading the lines before it. Errors: not_found (no journal there), invalid (a
  // cursor of another journal, or one whose line is not there: find_cursor), io.
  static Result<Reader> open(const std::string& state_directory, const Cursor& from = {});

  // False: there is no further event now. Error: io.
  Result<bool> next(event::Event& event);
  const Cursor& cursor() const { return cursor_; }  // behind the last event that was given

  // Becomes readable once there may be a further event after next() gave false. next() makes it unreadable again. The
  // descriptor exists from the first call on: call this before that next(). Errors: io (no inotify instance is
  // left...).
  Result<int> poll_fd();
  // Sleeps until there may be a further event, at most timeout_ms (-1: for ever). The first call returns at once.
  // Errors: as poll_fd().
  Result<void> wait(int timeout_ms = -1);

  // Where the line of the last event begins, for read_at(); nothing: the event came from the ring.
  std::optional<uint64_t> place() const { return place_; }
  Result<event::Event> read_at(uint64_t place) { return journal_.read_at(place, labels_); }

  // Up to the last event that the journal gave.
  ReadSoFar so_far() const;
  // For a reader that was opened there, and gave nothing yet: goes on as the one that had read so far.
  void go_on(ReadSoFar read);

  const store::LabelNames& labels() const { return labels_; }
  const std::string& vm() const { return vm_; }  // of the last event that named it
  const store::Damage& damage() const { return journal_.damage(); }
  // What is wrong with the ring; empty if nothing is.
  const std::string& ring_problem() const { return ring_problem_; }

 private:
  // The sources of changes: inotify on the files, and a timer (look_into_ring), both behind one descriptor.
  struct Watch {
    UniqueFd inotify, timer, both;
  };
  Reader(std::string state_directory, store::JournalReader journal, store::LabelNames labels, const Cursor& from)
      : directory_(std::move(state_directory)),
        journal_(std::move(journal)),
        labels_(std::move(labels)),
        cursor_(from),
        last_seq_(from.seq) {}
  Result<bool> next_of_journal(event::Event& event);
  void watch_run();
  bool take_notices();
  void look_into_ring();
  Result<bool> is_in_journal(const event::Event& event);

  std::string directory_;
  store::JournalReader journal_;
  store::LabelNames labels_;
  Cursor cursor_;
  std::optional<Watch> watch_;
  std::optional<uint64_t> place_;
  std::string vm_;
  std::string ring_problem_;
  bool ring_looked_at_ = false;  // from_ring_ was filled before the journal is read to its end
  int looks_left_ = 0;           // at a run that seems to be ending
  std::deque<event::Event> from_ring_;
  std::set<Mark> shown_;              // given out from the ring: the journal will have them later
  uint64_t last_seq_ = 0;             // of the journal
  uint64_t lines_ = 0, damaged_ = 0;  // up to its last event
  // Of the journal's last events, when its end was where the cursor is.
  std::optional<std::multiset<Mark>> marks_;
  uint64_t marks_at_ = 0;
};

}  // namespace oboro::stream
