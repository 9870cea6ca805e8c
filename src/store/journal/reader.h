// The journal, event by event. Threads: one at a time. Any number of readers beside the Appender.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "event/event.h"
#include "store/journal/bytes.h"
#include "store/label_names.h"

namespace oboro::store {

inline constexpr size_t kMaxLine = 1024 * 1024;  // the longest event, each byte escaped, is below that

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
  // `offset`: where a line begins; 0: at the oldest that is there. Error: not_found, io.
  static Result<JournalReader> open(const std::string& state_directory, uint64_t offset = 0);

  // The next line, for line(). False: there is no whole line (yet). What is missing or too long is passed over, and
  // goes to damage(). Errors: io.
  Result<bool> next_line();
  // The next event, in the order of the journal. Damaged lines are skipped, and go to damage(). False: there is no
  // whole line (yet). Labels that the table does not know are added to it. Errors: io.
  Result<bool> next(event::Event& event, LabelNames& labels, std::string* vm = nullptr);
  // The line that was given last, without '\n', until the next call; and where it begins and ends.
  std::string_view line() const { return std::string_view(buffer_).substr(line_at_, line_size_); }
  uint64_t line_number() const { return numbered_ ? lines_ : 0; }  // from 1; 0: not known
  uint64_t line_begin() const { return base_ + line_at_; }
  uint64_t line_end() const { return line_begin() + line_size_ + 1; }
  // The event whose line begins there. Errors: invalid, io.
  Result<event::Event> read_at(uint64_t offset, LabelNames& labels);
  const Damage& damage() const { return damage_; }
  // Goes on counting from there: the lines before the next one were read before, and this was wrong with them.
  // `lines`: 0: not known.
  void go_on(uint64_t lines, Damage damage) {
    lines_ = lines;
    numbered_ = lines != 0;
    damage_ = std::move(damage);
  }
  JournalBytes& bytes() { return bytes_; }

 private:
  JournalReader(JournalBytes bytes, uint64_t offset, bool numbered)
      : bytes_(std::move(bytes)), base_(offset), numbered_(numbered) {}
  Result<bool> fill();
  Result<bool> skip_long_line();
  Result<bool> skip_segment(const Error& why);
  void restart_at(uint64_t offset);
  void damaged(uint64_t offset, std::string reason);

  JournalBytes bytes_;
  std::string buffer_;
  uint64_t base_ = 0;  // where buffer_ begins in the journal
  size_t at_ = 0;      // of buffer_: what was not taken begins there
  size_t line_at_ = 0, line_size_ = 0;
  bool numbered_ = true;
  uint64_t lines_ = 0;
  Damage damage_;
};

}  // namespace oboro::store
