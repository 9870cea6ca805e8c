// The part of the journal that a run has to know before it starts: from the checkpoint, and from the events after it.
// Without a checkpoint that can be trusted, all of the journal is read: that is slower, and never gives fewer labels.
#pragma once

#include <string>

#include "base/result.h"
#include "history/history.h"
#include "store/label_names.h"
#include "stream/cursor.h"
#include "supervisor/checkpoint.h"

namespace oboro::supervisor {

struct ReadBack {
  // Its left_out(): since the checkpoint, and known to nobody; labels may be missing. The IDs of that time are not used
  // again.
  history::History state{history::Keep::lasting};
  Places places;
  stream::Cursor cursor;      // behind the last event of the journal
  uint64_t lines = 0;         // of the journal, that were read for it
  std::string no_checkpoint;  // what was read instead of the newest checkpoint, and why; empty: it was used, or there
                              // is no journal yet
};

// `labels`: those of the state directory. Names that only the journal has are added, and kept in its file. Errors: io,
// not_found (there is no journal).
Result<ReadBack> read_back(const std::string& state_directory, store::LabelNames& labels);

// What held where the journal begins: nothing, or what the checkpoint of its oldest segment says, in terms of `labels`.
// Errors: not_found, io, or invalid (there is none that can be trusted; a label has no name in `labels`).
Result<history::Lasting> held_at_begin(const std::string& state_directory, const store::LabelNames& labels);

// Writes what the next start begins from. The journal must be on the disk up to `cursor`. Returns how many bytes were
// written. Errors: limit (it would be larger than a checkpoint may be), io.
Result<uint64_t> write_checkpoint(const std::string& state_directory, const history::History& state,
                                  const store::LabelNames& labels, const Places& places, const stream::Cursor& cursor);

}  // namespace oboro::supervisor
