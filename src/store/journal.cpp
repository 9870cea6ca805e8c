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

bool is_urgent(const Event& event) {
  return event.kind == Kind::leak || event.verdict == event::Verdict::deny || event.kind == Kind::lost ||
         event.kind == Kind::incomplete || event.kind == Kind::stopped || event.kind == Kind::classified;
}

// The last `bound` bytes of the file, and where they begin.
bool read_end(int fd, size_t bound, std::string& text, off_t& begin) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return false;
  begin = std::max<off_t>(0, status.st_size - static_cast<off_t>(bound));
  text.resize(static_cast<size_t>(status.st_size - begin));
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::pread(fd, text.data() + done, text.size() - done, begin + static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  return true;
}

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
  // If the cut did not come to a line's end, the rest is garbage without one: end it, so that readers skip one line.
  if (line == 0 && begin > 0 && ::write(fd_.get(), "\n", 1) != 1) return io_error(path_);
  return {};
}

Result<void> Appender::find_last_seq() {
  std::string end;
  off_t begin = 0;
  LabelNames labels;
  // Nearly always the last line has it. Notes of the writer have none, and lines may be damaged: look further back
  // then.
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

Result<JournalReader> JournalReader::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return io_error(path);
  return JournalReader(std::move(fd));
}

void JournalReader::damaged(std::string reason) {
  ++damage_.count;
  if (damage_.first.size() < Damage::kMaxKept) damage_.first.push_back({lines_, std::move(reason)});
}

Result<bool> JournalReader::fill() {
  if (at_ > 0) {
    buffer_.erase(0, at_);
    searched_ -= at_;
    at_ = 0;
  }
  const size_t old = buffer_.size();
  buffer_.resize(old + kBlock);
  ssize_t count = 0;
  do {
    count = ::read(fd_.get(), buffer_.data() + old, kBlock);
  } while (count < 0 && errno == EINTR);
  buffer_.resize(old + static_cast<size_t>(std::max<ssize_t>(count, 0)));
  if (count < 0) return io_error("journal");
  return count > 0;
}

Result<bool> JournalReader::next(Event& event, LabelNames& labels, std::string* vm) {
  for (;;) {
    const size_t end = buffer_.find('\n', searched_);
    if (end == std::string::npos) {
      searched_ = buffer_.size();
      if (searched_ - at_ > kMaxLine) {  // drop what is there, and the rest of the line as it comes
        too_long_ = true;
        at_ = searched_;
      }
      auto more = fill();
      if (!more || !*more) return more;
      continue;
    }
    const std::string_view line(buffer_.data() + at_, end - at_);
    at_ = searched_ = end + 1;
    ++lines_;
    if (std::exchange(too_long_, false) || line.size() > kMaxLine) {
      damaged("longer than " + std::to_string(kMaxLine) + " bytes");
      continue;
    }
    auto parsed = read_event(line, labels, vm);
    if (parsed) {
      event = std::move(*parsed);
      return true;
    }
    damaged(parsed.error().message);
  }
}

}  // namespace oboro::store
