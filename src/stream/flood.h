// What a guest may have written to its journal. Anybody in it can make events without end, and the disk is others',
// too. Beyond its budget the events are left out whose kinds have no room of their own (event::Room); they are counted,
// and the journal says so by `flood`.
//
// Threads: one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "event/event.h"

namespace oboro::stream {

// Nanoseconds that only go up. A test's own stands still until it is told.
using Clock = std::function<uint64_t()>;
uint64_t steady_ns();

class Flood {
 public:
  // A second, on average: what a minute allows may come at once.
  struct Budget {
    uint64_t bytes = 4 << 20;  // of journal
    uint64_t events = 10'000;
  };
  static constexpr uint64_t kAtOnceSeconds = 60;
  static constexpr uint64_t kReportEverySeconds = 10;
  enum class Reason : uint8_t { rate, space };

  explicit Flood(const Budget& budget, Clock clock = steady_ns);

  // Whether one more event of a shared kind may be written. Each that is written is counted then, of whatever kind.
  bool has_budget();
  void written(uint64_t bytes);

  // The event is left out. record: its bytes in the ring. True: it is the first one since the last checkpoint(), and
  // must not be forgotten before the journal has begins(reason).
  bool leave_out(const event::Event& event, uint64_t record, Reason reason);
  static event::Flood begins(Reason reason);
  // What was left out since the last report, if that is over kReportEverySeconds old or all is to be told.
  std::optional<event::Flood> report(bool all);

  // Something was left out since the last checkpoint(): the journal alone does not tell the next run all.
  bool missing() const { return missing_; }
  // The next run has something that knows all events so far.
  void checkpoint() { missing_ = false; }

 private:
  struct LeftOut {
    uint64_t since_ns = 0;
    uint64_t count = 0, bytes = 0, first_seq = 0, last_seq = 0;
    std::array<uint64_t, static_cast<size_t>(event::Kind::count)> kinds{};
  };

  void refill(uint64_t now);

  const double bytes_a_second_, events_a_second_;
  const Clock clock_;
  uint64_t filled_ns_;
  double bytes_, events_;              // that may be written now; less than 0: too much was
  std::array<LeftOut, 2> left_out_{};  // by reason
  bool missing_ = false;
};

}  // namespace oboro::stream
