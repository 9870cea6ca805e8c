#include "store/journal.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io_error.h"
#include "store/json.h"

namespace oboro::store {
namespace {

using event::Event;
using event::Kind;

constexpr size_t kBlock = 256 * 1024;
constexpr size_t kFirstLook = 8 * 1024;  // most lines are shorter

bool is_urgent(const Event& event) {
  return event.kind == Kind::leak || event.verdict == event::Verdict::deny || event.kind == Kind::lost ||
         event.kind == Kind::incomplete || event.kind == Kind::stopped || event.kind == Kind::classified;
}

// Reads the bytes there, at most `wanted`. False, with errno, if they cannot be read.
bool read_block(int fd, size_t wanted, uint64_t offset, std::string& block) {
  block.resize(wanted);
  size_t done = 0;
  while (done < wanted) {
    const ssize_t count = ::pread(fd, block.data() + done, wanted - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  block.resize(done);
  return true;
}

// The last `bound` bytes of the file, and where they begin.
bool read_end(int fd, size_t bound, std::string& text, off_t& begin) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return false;
  begin = std::max<off_t>(0, status.st_size - static_cast<off_t>(bound));
  return read_block(fd, static_cast<size_t>(status.st_size - begin), static_cast<uint64_t>(begin), text);
}

std::string too_long() { return "longer than " + std::to_string(kMaxLine) + " bytes"; }

}  // namespace

Appender::Appender(UniqueFd fd, std::string path)
    : fd_(std::move(fd)), path_(std::move(path)), space_([](uint64_t bytes, uint64_t) {
        return FreeSpace::Kept{std::min(bytes / kKeptPart, kKeptMost), 0};
      }) {}

std::string journal_path(const std::string& state_directory) { return state_directory + "/events.jsonl"; }

Result<Appender> Appender::open(const std::string& state_directory) {
  const std::string path = journal_path(state_directory);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd) return io_error(path);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return io_error(path);
  if (!S_ISREG(status.st_mode)) return Error{Errc::invalid, path + ": is not a regular file"};
  Appender appender(std::move(fd), path);
  if (auto cut = appender.cut_torn_end(state_directory + "/events.torn"); !cut) return cut.error();
  if (auto found = appender.find_last_seq(); !found) return found.error();
  if (::fstat(appender.fd_.get(), &status) != 0) return io_error(path);
  appender.size_ = static_cast<uint64_t>(status.st_size);
  appender.last_sync_ = std::chrono::steady_clock::now();
  return appender;
}

Result<void> Appender::cut_torn_end(const std::string& torn_path) {
  std::string end;
  off_t begin = 0;
  if (!read_end(fd_.get(), kMaxLine, end, begin)) return io_error(path_);
  if (end.empty() || end.back() == '\n') return {};
  // No '\n' within the longest line: what is there is no line of ours, and all of it is cut.
  const size_t line = end.rfind('\n') + 1;  // npos + 1 == 0
  const std::string_view torn = std::string_view(end).substr(line);
  const UniqueFd side(::open(torn_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!side) return io_error(torn_path);
  std::string copy(torn);
  copy += '\n';
  if (::write(side.get(), copy.data(), copy.size()) != static_cast<ssize_t>(copy.size()) ||
      ::fdatasync(side.get()) != 0)
    return io_error(torn_path);
  if (::ftruncate(fd_.get(), begin + static_cast<off_t>(line)) != 0) return io_error(path_);
  torn_bytes_ = torn.size();
  // If the cut did not reach the end of a line, the rest is garbage without an end. End it, so that readers skip one
  // line.
  if (line == 0 && begin > 0 && ::write(fd_.get(), "\n", 1) != 1) return io_error(path_);
  return {};
}

Result<void> Appender::find_last_seq() {
  std::string end;
  off_t begin = 0;
  LabelNames labels;
  // Nearly always the last line has a number. Notes of the writer have none, and lines may be damaged. Then look
  // further back.
  for (size_t bound = kBlock;; bound *= 8) {
    if (!read_end(fd_.get(), bound, end, begin)) return io_error(path_);
    std::string_view rest = end;
    while (!rest.empty()) {
      rest.remove_suffix(1);  // the '\n'
      const size_t line = rest.rfind('\n') + 1;
      if (line == 0 && begin > 0) break;  // its beginning is not in the block
      LabelNames scratch;
      if (const auto event = read_event(rest.substr(line), scratch); event && event->seq != 0) {
        last_seq_ = event->seq;
        return {};
      }
      rest = rest.substr(0, line);
    }
    if (begin == 0) return {};
  }
}

void Appender::append(const Event& event, const LabelNames& labels, std::string_view vm) {
  if (written_ == buffer_.size()) {
    buffer_.clear();
    written_ = allowed_ = 0;
  }
  write_event(event, labels, vm, buffer_);
  buffer_ += '\n';
  last_seq_ = std::max(last_seq_, event.seq);
  urgent_ = urgent_ || is_urgent(event);
}

Result<void> Appender::flush() {
  if (buffer_.size() > allowed_) {
    if (!space_.take(fd_.get(), buffer_.size() - allowed_)) {
      ++refused_;
      return Error{Errc::io, path_ + ": the disk is full, but for the hundredth that is to stay free"};
    }
    allowed_ = buffer_.size();
  }
  while (pending() > 0) {
    const ssize_t count = ::write(fd_.get(), buffer_.data() + written_, pending());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      ++refused_;
      return io_error(path_);
    }
    written_ += static_cast<size_t>(count);
    size_ += static_cast<uint64_t>(count);
    dirty_ = true;
  }
  const auto age = std::chrono::steady_clock::now() - last_sync_;
  if (dirty_ && (urgent_ || age >= std::chrono::seconds(1))) return sync();
  return {};
}

Result<void> Appender::sync() {
  if (!dirty_) return {};
  if (::fdatasync(fd_.get()) != 0) {
    ++refused_;
    return io_error(path_);
  }
  dirty_ = urgent_ = false;
  last_sync_ = std::chrono::steady_clock::now();
  return {};
}

Result<JournalReader> JournalReader::open(const std::string& path, uint64_t offset) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return io_error(path);
  return JournalReader(std::move(fd), offset);
}

void JournalReader::damaged(uint64_t offset, std::string reason) {
  ++damage_.count;
  if (damage_.first.size() < Damage::kMaxKept)
    damage_.first.push_back({numbered_ ? lines_ : 0, offset, std::move(reason)});
}

// Reads from the beginning of the line that has no end in the buffer, so that a whole line comes from one look at the
// file. Between two looks its torn beginning may be cut off, and other bytes take its place. False: there is no line to
// take now.
Result<bool> JournalReader::fill() {
  size_t wanted = kBlock;
  while (wanted <= buffer_.size() - at_) wanted *= 2;
  base_ += at_;
  at_ = line_at_ = line_size_ = 0;
  if (!read_block(fd_.get(), wanted, base_, buffer_)) return io_error("journal");
  return buffer_.size() == wanted || buffer_.find('\n') != std::string::npos;
}

// False: the line has no end yet.
Result<bool> JournalReader::skip_long_line() {
  std::string block;
  const uint64_t begin = base_ + at_;
  for (uint64_t offset = begin + kMaxLine;; offset += block.size()) {
    if (!read_block(fd_.get(), kBlock, offset, block)) return io_error("journal");
    if (block.empty()) {  // as fill(): the next look begins with the line
      buffer_.clear();
      base_ = begin;
      at_ = line_at_ = line_size_ = 0;
      return false;
    }
    const size_t end = block.find('\n');
    if (end == std::string::npos) continue;
    buffer_.clear();
    base_ = offset + end + 1;
    at_ = line_at_ = line_size_ = 0;
    ++lines_;
    damaged(begin, too_long());
    return true;
  }
}

Result<bool> JournalReader::next(Event& event, LabelNames& labels, std::string* vm) {
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
    if (line_size_ > kMaxLine) {
      damaged(line_begin(), too_long());
      continue;
    }
    auto parsed = read_event(line(), labels, vm);
    if (parsed) {
      event = std::move(*parsed);
      return true;
    }
    damaged(line_begin(), parsed.error().message);
  }
}

Result<Event> JournalReader::read_at(uint64_t offset, LabelNames& labels) const {
  std::string block;
  for (size_t wanted = kFirstLook;; wanted = kMaxLine + 1) {
    if (!read_block(fd_.get(), wanted, offset, block)) return io_error("journal");
    if (const size_t end = block.find('\n'); end != std::string::npos)
      return read_event(std::string_view(block).substr(0, end), labels);
    if (block.size() < wanted || wanted > kMaxLine)
      return Error{Errc::invalid, "journal: no line begins at byte " + std::to_string(offset)};
  }
}

}  // namespace oboro::store
