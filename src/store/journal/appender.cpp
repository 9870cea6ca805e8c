#include "store/journal/appender.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io_error.h"
#include "store/journal/free_space.h"
#include "store/journal/reader.h"
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

// So that names survive a power loss; what cannot be synchronised here is as good as the file system makes it.
void sync_directory(const std::string& path) {
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory) (void)::fsync(directory.get());
}

}  // namespace

Appender::Appender(UniqueFd fd, std::string directory)
    : fd_(std::move(fd)),
      directory_(std::move(directory)),
      path_(journal_path(directory_)),
      space_(journal_space()),
      shared_space_(shared_journal_space()) {}

Result<Appender> Appender::open(const std::string& state_directory) {
  const std::string path = journal_path(state_directory);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd) return io_error(path);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return io_error(path);
  if (!S_ISREG(status.st_mode)) return Error{Errc::invalid, path + ": is not a regular file"};
  const auto beginning = read_beginning(path);
  if (!beginning) return beginning.error();
  if (status.st_size == 0) {
    const auto older = older_segments(state_directory);
    if (!older) return older.error();
    if (!older->empty())
      return Error{Errc::invalid, path + ": is empty or was not there, and " + segments_path(state_directory) +
                                      " has what was before it: put it back, or move that away"};
  }
  Appender appender(std::move(fd), state_directory);
  if (*beginning) {
    appender.begin_ = (*beginning)->begin;
    appender.last_seq_ = (*beginning)->last_seq;
    appender.head_ = (*beginning)->previous;
  }
  if (auto cut = appender.cut_torn_end(state_directory + "/events.torn"); !cut) return cut.error();
  if (auto found = appender.find_end(); !found) return found.error();
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

// The number and the hash to go on from.
Result<void> Appender::find_end() {
  std::string end;
  off_t begin = 0;
  bool hashed = false;
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
      const std::string_view text = rest.substr(line);
      if (const auto event = read_event(text, scratch)) {
        const auto linked = split_hash(text);
        if (linked && !hashed) head_ = linked->hash;
        hashed = hashed || linked;
        if (event->seq != 0) last_seq_ = event->seq;
        if (event->seq != 0) return {};
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
  const size_t begin = buffer_.size();
  write_event(event, labels, vm, buffer_);
  head_ = append_hash(head_, begin, buffer_);
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

// In an order that leaves one journal at every moment: the same file under two names, then another one under the first.
Result<void> Appender::cut(std::string_view vm, const std::string& journal) {
  if (auto synced = sync(); !synced) return synced;
  const std::string older = segment_path(directory_, begin_), next = path_ + ".new";
  event::Event event;
  event.time_ns = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
  event.set(event::SegmentBegin{begin_ + size_, journal, last_seq_, head_});
  std::string line;
  write_event(event, {}, vm, line);
  std::string head = append_hash(head_, 0, line);
  line += '\n';
  if (::mkdir(segments_path(directory_).c_str(), 0700) != 0 && errno != EEXIST)
    return io_error(segments_path(directory_));
  UniqueFd fd(::open(next.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || !write_all(fd.get(), line) || ::fdatasync(fd.get()) != 0) return io_error(next);
  if (::link(path_.c_str(), older.c_str()) != 0 && errno != EEXIST) return io_error(older);
  if (::rename(next.c_str(), path_.c_str()) != 0) return io_error(path_);
  sync_directory(segments_path(directory_));
  sync_directory(directory_);
  fd_ = std::move(fd);
  begin_ += size_;
  size_ = line.size();
  head_ = std::move(head);
  space_ = journal_space();
  shared_space_ = shared_journal_space();
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

}  // namespace oboro::store
