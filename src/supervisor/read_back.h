// What a run has to know of the journal before it starts: from the checkpoint, and from what was journaled after it.
// Where there is no checkpoint that can be trusted, from all of the journal: slower, never with fewer labels.
#pragma once

#include <string>

#include "base/result.h"
#include "history/history.h"
#include "store/label_names.h"
#include "stream/cursor.h"
#include "supervisor/checkpoint.h"

namespace oboro::supervisor {

struct ReadBack {
  history::History state{history::Keep::lasting};
  Places places;
  stream::Cursor cursor;      // behind the last event of the journal
  uint64_t lines = 0;         // of the journal, that were read for it
  std::string no_checkpoint;  // why all of the journal was read; empty: it was not, or there is none
};

// `labels` are the state directory's: it gets, and keeps in its file, what names the journal has besides. Errors: io,
// not_found (there is no journal).
Result<ReadBack> read_back(const std::string& state_directory, store::LabelNames& labels);

// What the next start begins from; the journal is on the disk as far as `cursor`. The bytes that were written. Errors:
// limit (it would be larger than one may be), io.
Result<uint64_t> write_checkpoint(const std::string& state_directory, const history::History& state,
                                  const store::LabelNames& labels, const Places& places, const stream::Cursor& cursor);

}  // namespace oboro::supervisor
