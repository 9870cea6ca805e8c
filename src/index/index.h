// The index beside the journal: the state that all events leave (history::History), as a database with the cursor up to
// which it holds. Who reads takes it, and the events behind the cursor on top of it. The journal stays the truth: an
// index may be deleted at any time, and one that does not fit to its journal is not used. Decision 028.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/result.h"
#include "history/history.h"
#include "index/database.h"
#include "index/tables.h"
#include "store/label_names.h"
#include "stream/reader.h"

namespace oboro::index {

std::string index_path(const std::string& state_directory);
// Of the index with what SQLite keeps beside it, in bytes; 0: there is none.
uint64_t size_on_disk(const std::string& state_directory);

// An index as it was at one moment, to be read. While it is open, what is written meanwhile cannot be tidied up on the
// disk: it is closed before anybody waits. Threads: one at a time.
class Snapshot {
 public:
  // Errors: not_found (no index, or of what was removed from the journal), invalid (damaged, of another version, of
  // another journal, ahead of it...), io.
  static Result<std::unique_ptr<Snapshot>> open(const std::string& state_directory);

  const Standing& standing() const { return standing_; }
  // The state at the cursor. It refers to this object.
  history::History state() { return {tables_, standing_.figures, standing_.names}; }
  // The first event with this number, and its place among all (Gain::order), if it is before the cursor. Errors: io.
  Result<std::optional<std::pair<uint64_t, event::Event>>> find_event(uint64_t seq);
  // Anything that the state has said since is worth nothing then.
  const std::optional<Error>& failure() const { return database_->failure(); }

 private:
  Snapshot(std::string directory, std::unique_ptr<Database> database)
      : directory_(std::move(directory)), database_(std::move(database)), tables_(*database_) {}

  std::string directory_;
  std::unique_ptr<Database> database_;
  Tables tables_;
  Standing standing_;
};

// Brings the index up to the journal, a batch at a time. Each batch is one transaction: what a kill leaves is as after
// the batch before. Any number of writers may be at it, in any process: they take turns, and each goes on where the
// other has stopped. An index that does not fit to the journal is made anew. Threads: one at a time.
class Writer {
 public:
  // What held where the journal begins, if its beginning was removed, in terms of these labels.
  using AtBegin = std::function<Result<history::Lasting>(const store::LabelNames& labels)>;
  struct Bounds {
    uint64_t events = 10'000;
    uint64_t bytes = 8 << 20;   // of journal: what its lines make the state larger by, at most
    size_t in_memory = 50'000;  // objects and names that stay there for the next batch
  };
  Writer(std::string state_directory, AtBegin at_begin, const Bounds& bounds);
  Writer(std::string state_directory, AtBegin at_begin)
      : Writer(std::move(state_directory), std::move(at_begin), Bounds{}) {}
  ~Writer();

  struct Step {
    uint64_t events = 0;  // that were taken
    bool at_end = false;  // there are no more in the journal now
    std::string anew;     // what was wrong with the index, so that it was begun anew; empty: nothing
  };
  // Errors: not_found (no journal), limit (an index cannot have what this journal has), io (a full disk...), invalid.
  // What is in the index is as before then.
  Result<Step> step();
  // Empties the index; the next step begins anew. Errors: io, invalid.
  Result<void> clear();

 private:
  struct Session;  // what belongs to an open file
  Result<Step> try_step();
  Result<void> open();
  Result<std::string> take_up(uint64_t begin);
  static void begin_with(Session& session, history::Lasting lasting);
  void remove_files();

  const std::string directory_;
  const AtBegin at_begin_;
  const Bounds bounds_;
  std::unique_ptr<Session> session_;
};

}  // namespace oboro::index
