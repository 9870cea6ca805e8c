#include "stream/recorder.h"

#include <cstdio>
#include <ctime>

#include "event/codec.h"
#include "store/journal/reader.h"

namespace oboro::stream {
namespace {

using event::Event;
using event::Kind;

constexpr size_t kBatch = 256 * 1024;  // of journal text, between two writes
static_assert(kMarkedBytes >= 2 * (kBatch + store::kMaxLine));
// Fewer records than this are lost in a row. And without so many records of a hostile QEMU the numbers never end.
constexpr uint64_t kLargestStep = uint64_t{1} << 32;

}  // namespace

uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void Recorder::append(const Event& event) {
  const size_t before = appender_.pending();
  appender_.append(event, labels_, vm_);
  const size_t line = appender_.pending() - before;
  if (flood_) flood_->written(line);
  // Only its record was counted before, and the line is longer. It is written all the same: the next one meets the end.
  if (flood_ && event::room_of(event.kind) == event::Room::shared) (void)appender_.take_shared_room(line);
  if (onlooker_) onlooker_(event);
}

std::optional<Flood::Reason> Recorder::no_room(const Event& event, size_t record) {
  if (!flood_ || event::room_of(event.kind) == event::Room::kept) return std::nullopt;
  if (!flood_->has_budget()) return Flood::Reason::rate;
  if (!appender_.take_shared_room(record)) return Flood::Reason::space;
  return std::nullopt;
}

void Recorder::leave_out(const Event& event, size_t record, Flood::Reason reason) {
  boot_ = event.boot;
  if (flood_->leave_out(event, record, reason)) note(Flood::begins(reason));
  appender_.pass(event.seq);
  if (onlooker_) onlooker_(event);
}

void Recorder::note(event::Flood flood) {
  Event event;
  event.boot = boot_;
  event.set(std::move(flood));
  note(std::move(event));
}

void Recorder::note_left_out(bool all) {
  if (!flood_) return;
  while (auto told = flood_->report(all)) note(std::move(*told));
}

Result<void> Recorder::tell_left_out() {
  note_left_out(true);
  return flush();
}

void Recorder::note(Event event) {
  event.time_ns = now_ns();
  append(event);
}

Result<void> Recorder::flush() {
  auto result = appender_.flush();
  if (!result) {
    if (refused_since_ns_ == 0) refused_since_ns_ = now_ns();
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

Result<bool> Recorder::is_duplicate(const Event& event) {
  if (directory_.empty() || event.seq > appender_.last_seq()) return false;
  if (!marks_) {
    auto found = last_marks(directory_);
    if (!found) return found.error();
    marks_ = std::move(*found);
  }
  const auto known = marks_->find(mark_of(event));
  if (known == marks_->end()) return false;
  marks_->erase(known);
  return true;
}

void Recorder::number(Event& event, Pumped& pumped) {
  const uint64_t last = appender_.highest_seq();
  if (event.seq > last && event.seq - last <= kLargestStep) return;
  event.seq = 0;
  ++pumped.unnumbered;
}

Result<Pumped> Recorder::pump(RingReader& ring, size_t at_most) {
  Pumped pumped;
  note_left_out(false);
  if (auto result = flush(); !result) return result.error();
  ring.take();  // what a call before this one could not write
  std::span<const std::byte> record;
  const uint64_t begin = ring.position();
  size_t moved = 0;
  size_t passed = 0;  // bytes of records that were left out
  uint64_t told = 0;
  for (bool more = true; more && moved < at_most;) {
    const auto next = ring.next(record);
    // A producer that never stops does not keep the caller here.
    more = next == RingReader::Next::record && ring.position() - begin < ring.capacity();
    if (next == RingReader::Next::damaged) {
      ++pumped.damaged;
      Event lost;
      lost.set(event::Lost{1, true, "the ring was damaged: " + ring.damage()});
      note(std::move(lost));
    }
    if (next == RingReader::Next::record) {
      auto event = event::decode(record);
      // Only the journal itself says where its segments begin, and what is missing from it.
      if (event && (event->kind == Kind::segment || event->kind == Kind::flood))
        event = Error{Errc::invalid, "QEMU gave an event of a kind that is not the tracer's"};
      const auto duplicate = event ? is_duplicate(*event) : false;
      if (!duplicate) return duplicate.error();
      if (!event) {
        ++pumped.damaged;
        Event lost;
        lost.set(event::Lost{1, false, event.error().message});
        note(std::move(lost));
      } else if (*duplicate) {
        ++pumped.duplicates;
      } else {
        number(*event, pumped);
        if (const auto reason = no_room(*event, record.size())) {
          leave_out(*event, record.size(), *reason);
          ++pumped.left_out;
          passed += record.size();
        } else {
          append(*event);
          ++pumped.written;
        }
      }
    }
    if (appender_.pending() + passed < kBatch && more) continue;
    if (const uint64_t untold = pumped.unnumbered - std::exchange(told, pumped.unnumbered); untold != 0) {
      Event lost;
      lost.set(event::Lost{untold, true, "so many records had a number that does not follow; they have none here"});
      note(std::move(lost));
    }
    moved += appender_.pending() + std::exchange(passed, 0);
    // Only the appender has this batch now, so the ring may forget it only after it is written. If the disk is full,
    // the batch stays in both, and the next call takes it from the ring.
    if (auto result = flush(); !result) return result.error();
    ring.take();
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
  recorder.expect_duplicates(state_directory);
  auto ring = RingReader::open(path);
  if (ring) return recorder.pump(*ring);
  const Error& error = ring.error();
  if (error.code == Errc::not_found) return Pumped{};
  if (error.code == Errc::io || error.code == Errc::limit) return error;
  if (::rename(path.c_str(), (path + ".damaged").c_str()) != 0) return error;
  Event event;
  event.set(event::Lost{1, true, error.message});
  if (auto recorded = recorder.record(event); !recorded) return recorded.error();
  return Pumped{.damaged = 1};
}

}  // namespace oboro::stream
