// The journal: `events.jsonl` in the state directory, one line of JSON (json.h) per event, only ever appended to.
//
// Threads: one at a time. One Appender per state directory (StateLock); any number of readers beside it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/free_space.h"
#include "base/result.h"
#include "event/event.h"
#include "store/label_names.h"

namespace oboro::store {

inline constexpr size_t kMaxLine = 1024 * 1024;  // the longest event, each byte escaped, is below that

std::string journal_path(const std::string& state_directory);

// What is safe when: a flushed line survives the end of every process at once, a kill included. Against power loss of
// the host, sync() happens at once after a leak, a denial, lost or incomplete tracing and the end of a run; and within
// a second of any other event, if flush() is called at least that often.
class Appender {
 public:
  // Opens or creates the journal (0600). If it does not end with a whole line (a crash, a full disk), the torn end is
  // moved to `events.torn`, and torn_bytes() says so. Errors: io, invalid (not a regular file).
  static Result<Appender> open(const std::string& state_directory);

  uint64_t last_seq() const { return last_seq_; }  // the highest that was appended, ever; 0: none
  size_t torn_bytes() const { return torn_bytes_; }

  // The line goes into memory, until flush().
  void append(const event::Event& event, const LabelNames& labels, std::string_view vm);
  // A hundredth of the disk stays free, 256 MiB at most: a guest that makes the tracer write without end must not take
  // all of it from the host.
  static constexpr uint64_t kKeptPart = 100, kKeptMost = 256 << 20;
  // Writes all pending lines. If the host refuses or the disk is full, the rest stays pending, in order, and the next
  // call goes on with it, in the middle of a line if need be. Error: io.
  Result<void> flush();
  Result<void> sync();
  size_t pending() const { return buffer_.size() - written_; }  // bytes
  uint64_t size() const { return size_; }                       // of the file, without pending lines
  uint64_t refused() const { return refused_; }                 // flushes that failed, ever

 private:
  Appender(UniqueFd fd, std::string path);
  Result<void> cut_torn_end(const std::string& torn_path);
  Result<void> find_last_seq();

  UniqueFd fd_;
  std::string path_;
  std::string buffer_;
  size_t written_ = 0;  // of buffer_
  uint64_t size_ = 0;
  size_t allowed_ = 0;  // of buffer_, to be written: there was room for it
  FreeSpace space_;
  uint64_t last_seq_ = 0;
  size_t torn_bytes_ = 0;
  uint64_t refused_ = 0;
  bool urgent_ = false;
  bool dirty_ = false;
  std::chrono::steady_clock::time_point last_sync_{};
};

// Lines that are not events.
struct Damage {
  struct Line {
    uint64_t number = 0;  // from 1; 0: not known, as the journal was not read from its beginning
    uint64_t offset = 0;  // of its first byte
    std::string reason;
  };
  static constexpr size_t kMaxKept = 20;
  uint64_t count = 0;
  std::vector<Line> first;  // at most kMaxKept
};

// A line without an end is not taken, and is read anew the next time: the end of a journal may be cut (Appender::open)
// while it is read.
class JournalReader {
 public:
  // `offset`: where a line begins. Error: not_found, io.
  static Result<JournalReader> open(const std::string& path, uint64_t offset = 0);

  // The next event, in the order of the journal. Damaged lines are skipped, and go to damage(). False: there is no
  // whole line (yet). Labels that the table does not know are added to it. Errors: io.
  Result<bool> next(event::Event& event, LabelNames& labels, std::string* vm = nullptr);
  // The line of the event that next() gave last, without '
  // ', until the next call; and where it begins and ends.
  std::string_view line() const { return std::string_view(buffer_).substr(line_at_, line_size_); }
  uint64_t line_begin() const { return base_ + line_at_; }
  uint64_t line_end() const { return line_begin() + line_size_ + 1; }
  // The event whose line begins there. Errors: invalid, io.
  Result<event::Event> read_at(uint64_t offset, LabelNames& labels) const;
  const Damage& damage() const { return damage_; }
  int fd() const { return fd_.get(); }

 private:
  JournalReader(UniqueFd fd, uint64_t offset) : fd_(std::move(fd)), base_(offset), numbered_(offset == 0) {}
  Result<bool> fill();
  Result<bool> skip_long_line();
  void damaged(uint64_t offset, std::string reason);

  UniqueFd fd_;
  std::string buffer_;
  uint64_t base_ = 0;  // where buffer_ begins in the file
  size_t at_ = 0;      // of buffer_: what was not taken begins there
  size_t line_at_ = 0, line_size_ = 0;
  bool numbered_ = true;
  uint64_t lines_ = 0;
  Damage damage_;
};

}  // namespace oboro::store
