#include "stream/view.h"

#include <algorithm>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "event/codec.h"
#include "stream/recorder.h"
#include "stream/ring.h"

namespace oboro::stream {

Result<EventView> EventView::open(const std::string& state_directory) {
  auto labels = store::LabelNames::load(state_directory);
  if (!labels) return labels.error();
  const std::string path = store::journal_path(state_directory);
  auto reader = store::JournalReader::open(path);
  if (!reader) return reader.error();
  // Without inotify (its instances can be used up) wait() still polls.
  UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (watch && ::inotify_add_watch(watch.get(), path.c_str(), IN_MODIFY) < 0) watch.reset();
  return EventView(state_directory, std::move(*reader), std::move(*labels), std::move(watch));
}

// The ring first, the journal after it: what moves from one to the other meanwhile is then in both, and is told by its
// number. The other way round it could be seen in neither.
void EventView::look_into_ring() {
  fresh_ = true;
  from_ring_.clear();
  ring_problem_.clear();
  const auto ring = Ring::open_read_only(ring_path(directory_));
  if (!ring) {
    if (ring.error().code != Errc::not_found) ring_problem_ = ring.error().message;
    return;
  }
  std::vector<std::byte> record;
  uint64_t position = 0;
  for (bool damaged = false; ring->peek(position, record, &damaged) || damaged;) {
    auto event = damaged ? Result<event::Event>(Error{Errc::invalid, "damaged record"}) : event::decode(record);
    if (event) {
      from_ring_.push_back(std::move(*event));
    } else {
      ring_problem_ = ring_path(directory_) + ": " + event.error().message;
    }
    if (damaged) break;
  }
}

Result<bool> EventView::next(event::Event& event) {
  if (!fresh_) look_into_ring();
  for (;;) {
    auto got = reader_.next(event, labels_, &vm_);
    if (!got) return got;
    if (!*got) break;
    if (event.seq != 0 && shown_.erase(event.seq) != 0) continue;
    last_seq_ = std::max(last_seq_, event.seq);
    return true;
  }
  while (!from_ring_.empty()) {
    event = std::move(from_ring_.front());
    from_ring_.pop_front();
    if (event.seq <= last_seq_ || !shown_.insert(event.seq).second) continue;
    return true;
  }
  fresh_ = false;
  return false;
}

void EventView::wait(int timeout_ms) {
  // Without the process that empties the ring, only the ring changes, and nothing tells: look twice a second.
  const int bounded = std::min(timeout_ms, 500);
  if (!watch_) {
    ::usleep(static_cast<useconds_t>(bounded) * 1000);
    return;
  }
  pollfd poll_watch{watch_.get(), POLLIN, 0};
  if (::poll(&poll_watch, 1, bounded) <= 0) return;
  char events[4096];
  while (::read(watch_.get(), events, sizeof events) > 0) continue;
}

}  // namespace oboro::stream
