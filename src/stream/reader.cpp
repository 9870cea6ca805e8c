#include "stream/reader.h"

#include <algorithm>
#include <poll.h>
#include <span>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/io_error.h"
#include "event/codec.h"
#include "store/state_dir.h"
#include "stream/crc32c.h"
#include "stream/recorder.h"
#include "stream/ring_reader.h"

namespace oboro::stream {
namespace {

// A file is closed a moment before its lock is released.
constexpr int kLooksAfterClose = 20;
constexpr long kLookAgainNs = 20'000'000;
constexpr uint32_t kJournalChanges = IN_MODIFY | IN_ATTRIB;  // or it has another name: another file has its name now

}  // namespace

Result<Reader> Reader::open(const std::string& state_directory, const Cursor& from) {
  auto labels = store::LabelNames::load(state_directory);
  if (!labels) return labels.error();
  auto journal = store::JournalReader::open(state_directory);
  if (!journal) return journal.error();
  auto found = find_cursor(state_directory, from);
  if (!found) return found.error();
  std::string vm;
  if (found->offset != 0) {
    // An event in the ring does not name the virtual machine. The journal's first line does.
    event::Event first;
    if (auto got = journal->next(first, *labels, &vm); !got) return got.error();
    journal = store::JournalReader::open(state_directory, found->offset);
    if (!journal) return journal.error();
  }
  Reader reader(state_directory, std::move(*journal), std::move(*labels), *found);
  reader.vm_ = std::move(vm);
  return reader;
}

Result<bool> Reader::next_of_journal(event::Event& event) {
  auto got = journal_.next(event, labels_, &vm_);
  if (!got || !*got) return got;
  if (cursor_.offset == 0) {
    auto identity = identify_journal(journal_.bytes());
    if (!identity) return identity.error();
    cursor_.journal = *identity;
  }
  // As in the recorder that brings a ring over: the last number counts, not the highest.
  if (event.seq != 0) last_seq_ = event.seq;
  cursor_.offset = journal_.line_end();
  cursor_.seq = last_seq_;
  cursor_.line = crc32c(std::as_bytes(std::span(journal_.line())));
  place_ = journal_.line_begin();
  lines_ = journal_.line_number();
  damaged_ = journal_.damage().count;
  return true;
}

ReadSoFar Reader::so_far() const {
  ReadSoFar read{lines_, journal_.damage(), vm_, labels_};
  read.damage.count = damaged_;
  if (read.damage.first.size() > damaged_) read.damage.first.resize(damaged_);
  return read;
}

void Reader::go_on(ReadSoFar read) {
  lines_ = read.lines;
  damaged_ = read.damage.count;
  vm_ = std::move(read.vm);
  labels_ = std::move(read.labels);
  journal_.go_on(read.lines, std::move(read.damage));
}

Result<bool> Reader::next(event::Event& event) {
  for (;;) {
    auto got = next_of_journal(event);
    if (!got) return got;
    if (*got) {
      if (shown_.erase(mark_of(event)) != 0) continue;
      return true;
    }
    // The notices are taken first, and the journal is read after that. An event after the last look is noticed again.
    if (take_notices()) {
      ring_looked_at_ = false;
      continue;
    }
    // The ring is read before the journal. An event that moves from one to the other meanwhile is then in both, and is
    // recognised by its mark. In the other order it could be missed in both.
    if (!std::exchange(ring_looked_at_, true)) {
      look_into_ring();
      continue;
    }
    break;
  }
  while (!from_ring_.empty()) {
    event = std::move(from_ring_.front());
    from_ring_.pop_front();
    const auto known = is_in_journal(event);
    if (!known) return known.error();
    if (*known || !shown_.insert(mark_of(event)).second) continue;
    place_.reset();
    return true;
  }
  ring_looked_at_ = false;
  return false;
}

Result<bool> Reader::is_in_journal(const event::Event& event) {
  if (event.seq > last_seq_) return false;
  if (!marks_ || marks_at_ != cursor_.offset) {
    auto found = last_marks(directory_);
    if (!found) return found.error();
    marks_ = std::move(*found);
    marks_at_ = cursor_.offset;
  }
  return marks_->contains(mark_of(event));
}

// Looks only where there is no run: a run empties the ring by itself, at once.
void Reader::look_into_ring() {
  from_ring_.clear();
  ring_problem_.clear();
  if (watch_) watch_run();
  if (store::StateLock::is_taken(directory_)) {
    if (looks_left_ == 0 || !watch_) return;
    --looks_left_;
    const itimerspec once{{0, 0}, {0, kLookAgainNs}};
    ::timerfd_settime(watch_->timer.get(), 0, &once, nullptr);
    return;
  }
  looks_left_ = 0;
  auto ring = RingReader::look(ring_path(directory_));
  if (!ring) {
    // A run that has begun meanwhile may be making the ring just now.
    if (ring.error().code != Errc::not_found && !store::StateLock::is_taken(directory_))
      ring_problem_ = ring.error().message;
    return;
  }
  std::span<const std::byte> record;
  // A QEMU that has outlived its run may still write; what fits into the ring once is all that is looked at.
  for (const uint64_t begin = ring->position(); ring->position() - begin <= ring->capacity();) {
    const auto next = ring->next(record);
    if (next == RingReader::Next::nothing) return;
    auto event = next == RingReader::Next::damaged
                     ? Result<event::Event>(Error{Errc::invalid, "damaged: " + ring->damage()})
                     : event::decode(record);
    if (event) {
      from_ring_.push_back(std::move(*event));
    } else {
      ring_problem_ = ring_path(directory_) + ": " + event.error().message;
    }
    if (next == RingReader::Next::damaged) return;
  }
}

// The files are watched, not the directory, in which subscribers may keep their cursors. The lock tells that a run was
// killed, because its descriptor is closed then. The run's QEMU can outlive it for a moment: the ring tells when it is
// filled no more.
Result<int> Reader::poll_fd() {
  if (watch_) return watch_->both.get();
  Watch watch{UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)),
              UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
              UniqueFd(::epoll_create1(EPOLL_CLOEXEC))};
  if (!watch.inotify) return io_error("inotify (fs.inotify.max_user_instances may be too small)");
  const std::string path = store::journal_path(directory_);
  if (::inotify_add_watch(watch.inotify.get(), path.c_str(), kJournalChanges) < 0) return io_error("inotify: " + path);
  for (const UniqueFd* fd : {&watch.inotify, &watch.timer}) {
    epoll_event readable{.events = EPOLLIN, .data = {}};
    if (!*fd || ::epoll_ctl(watch.both.get(), EPOLL_CTL_ADD, fd->get(), &readable) != 0) return io_error("epoll");
  }
  watch_ = std::move(watch);
  return watch_->both.get();
}

// The ring is another file in each run, the journal after each cut, and there is no lock before the first run. To add a
// file that is watched already does nothing. A file that is not there yet shows itself by the journal.
void Reader::watch_run() {
  ::inotify_add_watch(watch_->inotify.get(), store::journal_path(directory_).c_str(), kJournalChanges);
  for (const std::string& path : {store::lock_path(directory_), ring_path(directory_)})
    ::inotify_add_watch(watch_->inotify.get(), path.c_str(), IN_CLOSE_WRITE);
}

// Whether a change was noticed since the last time that can mean a further event.
bool Reader::take_notices() {
  if (!watch_) return false;
  uint64_t expirations = 0;
  bool noticed = ::read(watch_->timer.get(), &expirations, sizeof expirations) > 0;
  alignas(inotify_event) char buffer[4096];
  for (ssize_t size = 0; (size = ::read(watch_->inotify.get(), buffer, sizeof buffer)) > 0; noticed = true)
    for (const char* at = buffer; at < buffer + size;) {
      const auto& notice = *reinterpret_cast<const inotify_event*>(at);
      at += sizeof notice + notice.len;
      if ((notice.mask & (IN_CLOSE_WRITE | IN_Q_OVERFLOW)) != 0) looks_left_ = kLooksAfterClose;
    }
  return noticed;
}

Result<void> Reader::wait(int timeout_ms) {
  const bool first = !watch_;
  auto fd = poll_fd();
  if (!fd) return fd.error();
  if (first) return {};
  pollfd waiting{*fd, POLLIN, 0};
  if (::poll(&waiting, 1, timeout_ms) < 0 && errno != EINTR) return io_error("poll");
  return {};
}

}  // namespace oboro::stream
