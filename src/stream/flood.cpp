#include "stream/flood.h"

#include <algorithm>
#include <ctime>
#include <string>
#include <utility>

namespace oboro::stream {
namespace {

constexpr uint64_t kNsInSecond = 1'000'000'000;

std::string_view reason_name(Flood::Reason reason) { return reason == Flood::Reason::space ? "space" : "rate"; }

}  // namespace

uint64_t steady_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNsInSecond + static_cast<uint64_t>(now.tv_nsec);
}

Flood::Flood(const Budget& budget, Clock clock)
    : bytes_a_second_(static_cast<double>(budget.bytes)),
      events_a_second_(static_cast<double>(budget.events)),
      clock_(std::move(clock)),
      filled_ns_(clock_()),
      bytes_(bytes_a_second_ * kAtOnceSeconds),
      events_(events_a_second_ * kAtOnceSeconds) {}

void Flood::refill(uint64_t now) {
  const double seconds = static_cast<double>(now - std::min(now, filled_ns_)) / static_cast<double>(kNsInSecond);
  filled_ns_ = std::max(now, filled_ns_);
  bytes_ = std::min(bytes_ + seconds * bytes_a_second_, bytes_a_second_ * kAtOnceSeconds);
  events_ = std::min(events_ + seconds * events_a_second_, events_a_second_ * kAtOnceSeconds);
}

// How long its line is shows only when it is written, so the last one may be too much: that is made up for later.
bool Flood::has_budget() {
  refill(clock_());
  return bytes_ > 0 && events_ >= 1;
}

// What must be written is not held back, and what it took beyond a minute's is not held against the guest.
void Flood::written(uint64_t bytes) {
  bytes_ = std::max(bytes_ - static_cast<double>(bytes), -bytes_a_second_ * kAtOnceSeconds);
  events_ = std::max(events_ - 1, -events_a_second_ * kAtOnceSeconds);
}

bool Flood::leave_out(const event::Event& event, uint64_t record, Reason reason) {
  LeftOut& all = left_out_[static_cast<size_t>(reason)];
  if (all.count++ == 0) all.since_ns = clock_();
  all.bytes += record;
  ++all.kinds[static_cast<size_t>(event.kind)];
  if (event.seq != 0) {
    if (all.first_seq == 0) all.first_seq = event.seq;
    all.last_seq = event.seq;
  }
  return !std::exchange(missing_, true);
}

event::Flood Flood::begins(Reason reason) {
  event::Flood flood;
  flood.reason = reason_name(reason);
  return flood;
}

std::optional<event::Flood> Flood::report(bool all) {
  for (const Reason reason : {Reason::rate, Reason::space}) {
    LeftOut& left = left_out_[static_cast<size_t>(reason)];
    if (left.count == 0) continue;
    const uint64_t age = clock_() - left.since_ns;
    if (!all && age < kReportEverySeconds * kNsInSecond) continue;
    event::Flood flood = begins(reason);
    flood.count = left.count;
    flood.bytes = left.bytes;
    flood.first_seq = left.first_seq;
    flood.last_seq = left.last_seq;
    flood.ms = age / 1'000'000;
    for (size_t kind = 0; kind < left.kinds.size(); ++kind) {
      if (left.kinds[kind] == 0) continue;
      if (!flood.kinds.empty()) flood.kinds += ", ";
      flood.kinds += event::name(static_cast<event::Kind>(kind));
      flood.kinds += " " + std::to_string(left.kinds[kind]);
    }
    left = {};
    return flood;
  }
  return std::nullopt;
}

}  // namespace oboro::stream
