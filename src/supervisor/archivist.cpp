#include "supervisor/archivist.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io_error.h"
#include "base/thread.h"
#include "store/journal/bytes.h"
#include "store/journal/segment_file.h"
#include "stream/recorder.h"
#include "supervisor/checkpoint.h"
#include "supervisor/launch/child.h"

namespace oboro::supervisor {
namespace {

constexpr int kLowest = 19;  // nice

// The segments that are no longer written to, oldest first, and the newest one as the last.
Result<std::vector<store::Segment>> segments_of(const std::string& directory) {
  auto journal = store::JournalBytes::open(directory);
  if (!journal) return journal.error();
  return journal->segments();
}

}  // namespace

Result<void> send_head(const store::Keeping& keeping, const std::string& vm, const store::Head& head) {
  const std::string line = head.line(stream::now_ns(), vm);
  if (!keeping.heads.empty()) {
    const UniqueFd file(::open(keeping.heads.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600));
    if (!file || !write_all(file.get(), line + '\n')) return io_error(keeping.heads);
  }
  if (keeping.heads_command.empty()) return {};
  std::vector<std::string> command = keeping.heads_command;
  command.push_back(line);
  auto child = Child::start(command, {}, {});
  if (!child) return child.error();
  if (!child->ends_within(kCommandMs))
    return Error{Errc::io, fmt::format("{}: took longer than {} s with a head", command.front(), kCommandMs / 1000)};
  const int status = child->wait().value_or(0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return Error{Errc::io, fmt::format("{}: did not take a head (wait status {})", command.front(), status)};
}

Archivist::Archivist(std::string directory, store::Keeping keeping, Say say)
    : directory_(std::move(directory)), keeping_(std::move(keeping)), say_(std::move(say)) {}

Result<void> Archivist::start() {
  Result<std::thread> thread = start_thread([this] { work(); });
  if (!thread) return thread.error();
  thread_ = std::move(*thread);
  return {};
}

Archivist::~Archivist() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Archivist::look() {
  {
    const std::lock_guard lock(mutex_);
    look_ = true;
  }
  wake_.notify_one();
}

void Archivist::send(std::string vm, store::Head head) {
  {
    const std::lock_guard lock(mutex_);
    head_.emplace(std::move(vm), std::move(head));
  }
  wake_.notify_one();
}

void Archivist::work() {
  (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLowest);
  for (;;) {
    decltype(head_) head;
    bool look = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return ending_ || look_ || head_; });
      // The last head is sent before the end. Segments wait for the next run.
      if (ending_ && !head_) return;
      head = std::exchange(head_, std::nullopt);
      look = std::exchange(look_, false) && !ending_;
    }
    if (head) tell(send_failed_, send_head(keeping_, head->first, head->second));
    if (look) compress();
    if (look) remove();
  }
}

// A trouble is said once, until it is another one or over.
void Archivist::tell(std::optional<std::string>& last, const Result<void>& result) {
  const auto what = result ? std::nullopt : std::optional(result.error().message);
  if (what && what != last) say_(*what, false);
  last = what;
}

void Archivist::compress() {
  const auto segments = segments_of(directory_);
  if (!segments) return tell(compress_failed_, segments.error());
  for (size_t i = 0; i + 1 < segments->size(); ++i) {
    const std::string plain = store::segment_path(directory_, (*segments)[i].begin);
    const std::string compressed = store::compressed_path(plain);
    if ((*segments)[i].path == compressed) {  // both forms may be there: the end came between
      (void)::unlink(plain.c_str());
      continue;
    }
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
    }
    const auto done = store::compress_segment(plain, compressed);
    tell(compress_failed_, done);
    if (!done) return;
    (void)::unlink(plain.c_str());
  }
}

void Archivist::remove() {
  if (!keeping_.age_s && !keeping_.size) return;
  const auto segments = segments_of(directory_);
  if (!segments) return tell(remove_failed_, segments.error());
  std::vector<struct stat> files;
  uint64_t size = 0;
  for (const store::Segment& segment : *segments) {
    if (::stat(segment.path.c_str(), &files.emplace_back()) != 0) return tell(remove_failed_, io_error(segment.path));
    size += static_cast<uint64_t>(files.back().st_size);
  }
  const time_t now = ::time(nullptr);
  for (size_t i = 0; i + 1 < segments->size(); ++i) {
    const store::Segment& segment = (*segments)[i];
    const uint64_t next = (*segments)[i + 1].begin;
    const bool too_old = keeping_.age_s && files[i].st_mtime + static_cast<time_t>(*keeping_.age_s) < now;
    if (!too_old && (!keeping_.size || size <= *keeping_.size)) return tell(remove_failed_, {});
    if (const auto checkpoint = read_checkpoint(segment_checkpoint_path(directory_, next));
        !checkpoint || checkpoint->cursor.offset != next)
      return tell(
          remove_failed_,
          Error{Errc::invalid, fmt::format("{}: is not removed, as there is no checkpoint behind it", segment.path)});
    if (::unlink(segment.path.c_str()) != 0) return tell(remove_failed_, io_error(segment.path));
    (void)::unlink(segment_checkpoint_path(directory_, segment.begin).c_str());
    size -= static_cast<uint64_t>(files[i].st_size);
    say_(fmt::format("bytes {} to {} of the journal were removed: {}", segment.begin, next,
                     too_old ? "they were older than is to be kept" : "there was more than is to be kept"),
         true);
  }
  tell(remove_failed_, {});
}

}  // namespace oboro::supervisor
