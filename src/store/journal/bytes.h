// The journal as one run of bytes, whatever the files that it is cut into:
//
//   events.jsonl                                  the newest segment, which is written to
//   journal/00000000000268435456.jsonl[.zst]      older segments, by where they begin: plain, and compressed later
//
// Each segment but the very first begins with a `segment` event that says where. Oldest segments may be missing
// (retention).
//
// A reader may have this open while the journal is cut, compressed and shortened. Threads: one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "event/event.h"
#include "store/journal/segment_file.h"

namespace oboro::store {

std::string journal_path(const std::string& state_directory);   // of the newest segment
std::string segments_path(const std::string& state_directory);  // the directory of the older ones

struct Segment {
  uint64_t begin = 0;
  std::string path;
};
// The segment that begins there, and its two forms.
std::string segment_path(const std::string& state_directory, uint64_t begin);
inline std::string compressed_path(const std::string& plain) { return plain + ".zst"; }

// The older segments, in order. A segment that is there in both forms is listed as the compressed one. Error: io.
Result<std::vector<Segment>> older_segments(const std::string& state_directory);
// What the first line of a file of the journal says of it; nothing: it is the first segment, or empty. Error: io.
Result<std::optional<event::SegmentBegin>> read_beginning(const std::string& path);

class JournalBytes {
 public:
  // Errors: not_found (no journal), io.
  static Result<JournalBytes> open(const std::string& state_directory);

  const std::vector<Segment>& segments() const { return segments_; }  // oldest first; the last is written to
  uint64_t begin() const { return segments_.front().begin; }          // what is older has been removed
  // Without what is written meanwhile. Errors: as read().
  Result<uint64_t> end();
  // The bytes from `offset` on, at most `wanted`: fewer only where the journal ends, or bytes cannot be read. Errors,
  // if none can: not_found (removed by now), invalid (a segment is missing, or damaged), io.
  Result<void> read(uint64_t offset, size_t wanted, std::string& block);
  // Where the next segment begins that is behind `offset`; nothing: there is none.
  std::optional<uint64_t> segment_behind(uint64_t offset) const;

 private:
  explicit JournalBytes(std::string directory) : directory_(std::move(directory)) {}
  Result<void> look();
  Result<void> append(uint64_t offset, size_t wanted, std::string& block);
  Result<SegmentFile*> file_of(size_t segment);
  Result<bool> was_cut();

  std::string directory_;
  std::vector<Segment> segments_;  // the newest segment is the last
  std::optional<SegmentFile> file_;
  size_t opened_ = 0;  // whose file that is
};

}  // namespace oboro::store
