#include "stream/recorder.h"

#include <cstdio>
#include <ctime>

#include "event/codec.h"

namespace oboro::stream {
namespace {

using event::Event;
using event::Kind;

constexpr size_t kBatch = 256 * 1024;  // of journal text, between two writes

}  // namespace

std::string ring_path(const std::string& state_directory) { return state_directory + "/ring"; }

uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void Recorder::append(const Event& event) {
  appender_.append(event, labels_, vm_);
  if (onlooker_) onlooker_(event);
}

void Recorder::note(Event event) {
  event.time_ns = now_ns();
  append(event);
}

Result<void> Recorder::flush() {
  auto result = appender_.flush();
  if (!result) {
    if (refused_since_ns_ == 0) refused_since_ns_ = now_ns();
    duplicates_until_ = appender_.last_seq();
    return result;
  }
  if (refused_since_ns_ != 0) {
    Event event;
    event.set(event::Warning{"the journal could not be written for " +
                             std::to_string((now_ns() - refused_since_ns_) / 1'000'000) +
                             " ms; no record was lost by that"});
    note(std::move(event));
    refused_since_ns_ = 0;
    return appender_.flush();
  }
  return {};
}

Result<Pumped> Recorder::pump(Ring& ring, size_t at_most) {
  Pumped pumped;
  if (auto result = flush(); !result) return result.error();
  std::vector<std::byte> record;
  uint64_t position = 0;
  size_t moved = 0;
  for (bool more = true; more && moved < at_most;) {
    bool damaged = false;
    more = ring.peek(position, record, &damaged);
    if (damaged) {
      ++pumped.damaged;
      Event lost;
      lost.set(event::Lost{1, true, "the ring was damaged"});
      note(std::move(lost));
    }
    if (more) {
      auto event = event::decode(record);
      // Only the journal itself says where its segments begin.
      if (event && event->kind == Kind::segment)
        event = Error{Errc::invalid, "QEMU gave an event of a kind that is not the tracer's"};
      if (!event) {
        ++pumped.damaged;
        Event lost;
        lost.set(event::Lost{1, false, event.error().message});
        note(std::move(lost));
      } else if (event->seq != 0 && event->seq <= duplicates_until_) {
        ++pumped.duplicates;
      } else {
        append(*event);
        ++pumped.written;
      }
    }
    if (appender_.pending() < kBatch && more) continue;
    moved += appender_.pending();
    // Only the appender has this batch now, so the ring may forget it only after it is written. If the disk is full,
    // the batch stays in both, and the next pump recognises it by the sequence numbers.
    if (auto result = flush(); !result) return result.error();
    ring.take(position);
  }
  return pumped;
}

Result<void> Recorder::record(Event event) {
  if (event.time_ns == 0) event.time_ns = now_ns();
  append(event);
  return flush();
}

Result<Pumped> drain_ring(const std::string& state_directory, store::Appender& appender,
                          const store::LabelNames& labels, const std::string& vm) {
  const std::string path = ring_path(state_directory);
  Recorder recorder(appender, labels, vm);
  auto ring = Ring::open(path);
  if (!ring && ring.error().code == Errc::not_found) return Pumped{};
  if (!ring && ring.error().code == Errc::io) return ring.error();
  if (!ring) {
    if (::rename(path.c_str(), (path + ".damaged").c_str()) != 0) return ring.error();
    Event event;
    event.set(event::Lost{1, true, ring.error().message});
    if (auto recorded = recorder.record(event); !recorded) return recorded.error();
    return Pumped{.damaged = 1};
  }
  if (auto locked = ring->lock_consumer(); !locked) return locked.error();
  return recorder.pump(*ring);
}

}  // namespace oboro::stream
