// The part of the journal that a start needs, as one file beside it: which files bear which labels, and up to which
// place in the journal that holds. docs/formats.md has the format, and decision 020 the reasons.
//
// The file is taken as hostile: a text that is not exactly in form is refused, and costs no more than its size.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "history/history.h"
#include "stream/cursor.h"
#include "stream/reader.h"

namespace oboro::supervisor {

// A place in the journal at which reading can go on, so that not all of the journal has to be read to come to an event.
struct Place {
  stream::Cursor cursor;
  uint64_t highest = 0;  // no event before it has a higher number

  bool operator==(const Place&) const = default;
};

// A MiB apart or, in a long journal, the 2048th part of what is before them: some thousands of them, however long it
// is.
class Places {
 public:
  Places() = default;
  explicit Places(std::vector<Place> places) : all_(std::move(places)) {}
  bool due(uint64_t offset) const {
    return offset - (all_.empty() ? 0 : all_.back().cursor.offset) >= std::max<uint64_t>(1 << 20, offset / 2048);
  }
  void add(const Place& place) { all_.push_back(place); }  // behind the last one
  const std::vector<Place>& all() const { return all_; }

 private:
  std::vector<Place> all_;
};

struct Checkpoint {
  stream::Cursor cursor;              // the checkpoint has the events before it
  std::map<int, std::string> labels;  // names by bit, of all that the files bear
  history::Lasting state;
  std::vector<Place> places;  // in their order, before `cursor`

  static constexpr size_t kMaxSize = size_t{1} << 30;

  bool operator==(const Checkpoint&) const = default;
  std::string format() const;
  // `where` begins the messages. Errors: unsupported (another version), invalid (what and in which line).
  static Result<Checkpoint> parse(std::string_view text, const std::string& where);
};

std::string checkpoint_path(const std::string& state_directory);
// Beside the journal's older segments: that of the moment at which the segment began.
std::string segment_checkpoint_path(const std::string& state_directory, uint64_t begin);
// Errors: not_found, io, limit, or as parse().
Result<Checkpoint> read_checkpoint(const std::string& path);

// A reader of the journal before the first event with this number or a higher one, as near to it as the checkpoint
// knows a place; at the journal's beginning if it knows none. Errors: as stream::Reader::open().
Result<stream::Reader> open_before(const std::string& state_directory, uint64_t seq);

}  // namespace oboro::supervisor
