// What a start needs of the journal, as one file beside it: which files bear which labels, and how far in the journal
// that goes. docs/formats.md has the format, decision 020 the why.
//
// The file is taken as hostile: what is not exactly in form is refused, and costs no more than its size.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "history/history.h"
#include "stream/cursor.h"

namespace oboro::supervisor {

struct Checkpoint {
  stream::Cursor cursor;              // what is before it in the journal is in the checkpoint
  std::map<int, std::string> labels;  // names by bit, of all that the files bear
  history::Lasting state;

  static constexpr size_t kMaxSize = size_t{1} << 30;

  bool operator==(const Checkpoint&) const = default;
  std::string format() const;
  // `where` begins the messages. Errors: unsupported (another version), invalid (what and in which line).
  static Result<Checkpoint> parse(std::string_view text, const std::string& where);
};

std::string checkpoint_path(const std::string& state_directory);

}  // namespace oboro::supervisor
