// The journal, as it is written: one line of JSON (json.h) per event, with a hash (chain.h), only ever appended to; and
// cut into segments (bytes.h).
//
// Threads: one at a time. One Appender per state directory (StateLock); any number of readers beside it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/free_space.h"
#include "base/result.h"
#include "event/event.h"
#include "store/journal/bytes.h"
#include "store/journal/chain.h"
#include "store/label_names.h"

namespace oboro::store {

// What is safe when: a flushed line survives the end of every process at once, a kill included. Against power loss of
// the host, sync() happens at once after a leak, a denial, lost or incomplete tracing and the end of a run; and within
// a second of any other event, if flush() is called at least that often.
class Appender {
 public:
  // Opens or creates the journal (0600). If it does not end with a whole line (a crash, a full disk), the torn end is
  // moved to `events.torn`, and torn_bytes() says so. Errors: io, invalid (not a regular file; it is empty, and older
  // segments are there).
  static Result<Appender> open(const std::string& state_directory);

  uint64_t last_seq() const { return last_seq_; }  // the highest that was appended, ever; 0: none
  size_t torn_bytes() const { return torn_bytes_; }

  // Takes so many bytes of what the disk has for events for which no room is kept (event::Room). False: there is none.
  bool take_shared_room(uint64_t bytes) { return shared_space_.take(fd_.get(), bytes); }
  // The event with this number is not written.
  void pass(uint64_t seq) { passed_seq_ = std::max(passed_seq_, seq); }
  uint64_t highest_seq() const { return std::max(last_seq_, passed_seq_); }  // appended or passed
  // The line goes into memory, until flush().
  void append(const event::Event& event, const LabelNames& labels, std::string_view vm);
  // Writes all pending lines. If the host refuses or the disk is full, the rest stays pending, in order, and the next
  // call goes on with it, in the middle of a line if need be. Error: io.
  Result<void> flush();
  Result<void> sync();
  size_t pending() const { return buffer_.size() - written_; }  // bytes
  uint64_t size() const { return begin_ + size_; }              // of the journal, all segments, without pending lines
  const std::string& head() const { return head_; }             // the hash of the last line that was appended
  // Where the newest segment begins, and its size, without pending lines.
  uint64_t segment_begin() const { return begin_; }
  uint64_t segment_size() const { return size_; }
  // Makes what is there an older segment, and begins the next one, with a line that says so. Nothing may be pending.
  // `journal`: the journal's identity, of a cursor. Error: io; the journal goes on as it was then.
  Result<void> cut(std::string_view vm, const std::string& journal);
  uint64_t refused() const { return refused_; }  // flushes that failed, ever

 private:
  Appender(UniqueFd fd, std::string directory);
  Result<void> cut_torn_end(const std::string& torn_path);
  Result<void> find_end();

  UniqueFd fd_;
  std::string directory_;
  std::string path_;
  std::string head_ = kNoHash;
  uint64_t begin_ = 0;
  std::string buffer_;
  size_t written_ = 0;  // of buffer_
  uint64_t size_ = 0;   // of the newest segment
  size_t allowed_ = 0;  // of buffer_, to be written: there was room for it
  FreeSpace space_, shared_space_;
  uint64_t last_seq_ = 0, passed_seq_ = 0;
  size_t torn_bytes_ = 0;
  uint64_t refused_ = 0;
  bool urgent_ = false;
  bool dirty_ = false;
  std::chrono::steady_clock::time_point last_sync_{};
};

}  // namespace oboro::store
