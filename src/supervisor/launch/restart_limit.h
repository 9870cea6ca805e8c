// How often a proxy that has ended is started again. An attacker who can make it crash gets so many attempts.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>

namespace oboro::supervisor {

class RestartLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr size_t kMost = 5;
  static constexpr std::chrono::minutes kWithin{10};

  // Counts one more. False: it would be too many, and so it is from here on.
  bool take(Time now) {
    over_ = over_ || within(now) >= kMost;
    if (over_) return false;
    times_[taken_++ % kMost] = now;
    return true;
  }
  size_t within(Time now) const {
    const size_t known = std::min(taken_, kMost);
    size_t count = 0;
    for (size_t i = 0; i < known; ++i) count += now - times_[i] < kWithin;
    return count;
  }

 private:
  std::array<Time, kMost> times_{};
  size_t taken_ = 0;
  bool over_ = false;
};

}  // namespace oboro::supervisor
