// How far a subscriber has come in a journal. The subscriber stores it, to go on there later. It names the journal and
// the line, and says what that line is, so that another journal is noticed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "store/journal/bytes.h"

namespace oboro::stream {

// All zero: the beginning of any journal.
struct Cursor {
  uint32_t journal = 0;  // CRC-32C of the journal's first line, or of its first 4 KiB
  uint64_t offset = 0;   // behind the line of the last event that was given
  uint64_t seq = 0;      // the last event's; after a note, which has none, that of the last event before it
  uint32_t line = 0;     // CRC-32C of that line, without '\n'

  bool operator==(const Cursor&) const = default;
  std::string text() const;  // "1f2e3d4c:20480:57:0a1b2c3d", 8 + 20 + 20 + 8 digits and 3 colons at most
  // Takes exactly the text that text() writes, with one '
  // ' behind it or none. Error: invalid.
  static Result<Cursor> parse(std::string_view text);
};

// The number that Cursor::journal has for that journal; 0 while it has no whole line. Errors: invalid (what is left of
// it does not say), io.
Result<uint32_t> identify_journal(store::JournalBytes& journal);

// Where to go on reading: behind the cursor's line. Looks there first, and through the whole journal only if the line
// is not there. Errors: invalid (another journal; the line is nowhere: it was lost, or the journal was changed; it was
// removed with the oldest segment), io.
Result<Cursor> find_cursor(const std::string& state_directory, const Cursor& cursor);

// Whether the cursor's line is where the cursor says, in a journal that is the cursor's: all before it is there.
// Errors: invalid (what is left of the journal does not say which it is), io.
Result<bool> is_there(store::JournalBytes& journal, const Cursor& cursor);

// A cursor behind the last line of the journal, which must be an event's. `seq`: of the last event that has one.
// Errors: invalid (the last line is no event), io.
Result<Cursor> cursor_at_end(const std::string& state_directory, uint64_t seq);

}  // namespace oboro::stream
