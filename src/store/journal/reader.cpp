#include "store/journal/reader.h"

#include "store/json.h"

namespace oboro::store {
namespace {

using event::Event;

constexpr size_t kBlock = 256 * 1024;
constexpr size_t kFirstLook = 8 * 1024;  // most lines are shorter

std::string too_long() { return "longer than " + std::to_string(kMaxLine) + " bytes"; }

}  // namespace

Result<JournalReader> JournalReader::open(const std::string& directory, uint64_t offset) {
  auto bytes = JournalBytes::open(directory);
  if (!bytes) return bytes.error();
  const uint64_t begin = bytes->begin();
  return JournalReader(std::move(*bytes), offset == 0 ? begin : offset, offset == 0 && begin == 0);
}

void JournalReader::damaged(uint64_t offset, std::string reason) {
  ++damage_.count;
  if (damage_.first.size() < Damage::kMaxKept) damage_.first.push_back({line_number(), offset, std::move(reason)});
}

void JournalReader::restart_at(uint64_t offset) {
  buffer_.clear();
  base_ = offset;
  at_ = line_at_ = line_size_ = 0;
}

// Bytes cannot be read: goes on with the segment behind them. True: there is one.
Result<bool> JournalReader::skip_segment(const Error& why) {
  const uint64_t offset = base_ + at_;
  const auto behind = why.code == Errc::io ? std::nullopt : bytes_.segment_behind(offset);
  if (!behind) return why;
  damaged(offset, why.message);
  numbered_ = false;
  restart_at(*behind);
  return true;
}

// Reads from the beginning of the line that has no end in the buffer, so that a whole line comes from one look at the
// file. Between two looks its torn beginning may be cut off, and other bytes take its place. False: there is no line to
// take now.
Result<bool> JournalReader::fill() {
  size_t wanted = kBlock;
  while (wanted <= buffer_.size() - at_) wanted *= 2;
  base_ += at_;
  at_ = line_at_ = line_size_ = 0;
  if (auto read = bytes_.read(base_, wanted, buffer_); !read) return skip_segment(read.error());
  if (buffer_.size() == wanted || buffer_.find('\n') != std::string::npos) return true;
  // The journal ends in this line, or the rest of it cannot be read.
  std::string next;
  if (auto read = bytes_.read(base_ + buffer_.size(), 1, next); !read) return skip_segment(read.error());
  return false;
}

// False: the line has no end yet.
Result<bool> JournalReader::skip_long_line() {
  std::string block;
  const uint64_t begin = base_ + at_;
  for (uint64_t offset = begin + kMaxLine;; offset += block.size()) {
    if (auto read = bytes_.read(offset, kBlock, block); !read) return skip_segment(read.error());
    if (block.empty()) {  // as fill(): the next look begins with the line
      restart_at(begin);
      return false;
    }
    const size_t end = block.find('\n');
    if (end == std::string::npos) continue;
    restart_at(offset + end + 1);
    ++lines_;
    damaged(begin, too_long());
    return true;
  }
}

Result<bool> JournalReader::next_line() {
  for (;;) {
    const size_t end = buffer_.find('\n', at_);
    if (end == std::string::npos) {
      auto more = buffer_.size() - at_ > kMaxLine ? skip_long_line() : fill();
      if (!more || !*more) return more;
      continue;
    }
    line_at_ = at_;
    line_size_ = end - at_;
    at_ = end + 1;
    ++lines_;
    if (line_size_ <= kMaxLine) return true;
    damaged(line_begin(), too_long());
  }
}

Result<bool> JournalReader::next(Event& event, LabelNames& labels, std::string* vm) {
  for (;;) {
    auto more = next_line();
    if (!more || !*more) return more;
    auto parsed = read_event(line(), labels, vm);
    if (parsed) {
      event = std::move(*parsed);
      return true;
    }
    damaged(line_begin(), parsed.error().message);
  }
}

Result<Event> JournalReader::read_at(uint64_t offset, LabelNames& labels) {
  std::string block;
  for (size_t wanted = kFirstLook;; wanted = kMaxLine + 1) {
    if (auto read = bytes_.read(offset, wanted, block); !read) return read.error();
    if (const size_t end = block.find('\n'); end != std::string::npos)
      return read_event(std::string_view(block).substr(0, end), labels);
    if (block.size() < wanted || wanted > kMaxLine)
      return Error{Errc::invalid, "journal: no line begins at byte " + std::to_string(offset)};
  }
}

}  // namespace oboro::store
