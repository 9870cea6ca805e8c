// How long answers of one kind take: for a first sleep that ends about when the answer is there. All that is known of
// an answer is when it was looked for in vain, and that it was there at the next look.
//
// Threads: any. If two threads learn at the same time, some of that may be lost.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace oboro::steer {

class Expectation {
 public:
  static constexpr uint64_t kMost = 4'000'000;  // ns: what takes longer is worth more than one look
  uint64_t ns() const { return ns_.load(std::memory_order_relaxed); }
  // The answer was there after a sleep of that length. It may have been there for long.
  void was_there() {
    const uint64_t now = ns();
    set(now - now / 8);
  }
  // The answer was not there after so much time. One call that takes long does not make all others late.
  void was_not_there(uint64_t after_ns) {
    constexpr uint64_t kLeastStep = 4'000;
    const uint64_t now = ns(), step = now / 4 + kLeastStep;
    set(after_ns > now ? now + std::min((after_ns - now) / 4, step) : now - std::min((now - after_ns) / 4, step));
  }

 private:
  void set(uint64_t ns) { ns_.store(std::min(ns, kMost), std::memory_order_relaxed); }
  std::atomic<uint64_t> ns_{0};
};

}  // namespace oboro::steer
