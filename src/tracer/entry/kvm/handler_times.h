// How long the handling of a stop takes, in cycles: for `bench/run kvm`, which sets OBORO_KVM_PROFILE.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>
#include <x86intrin.h>

namespace oboro::tracer {

class HandlerTimes {
 public:
  HandlerTimes() {
    if (getenv("OBORO_KVM_PROFILE")) cycles_.resize(kMost);
  }
  uint64_t begin() const { return cycles_.empty() ? 0 : __rdtsc(); }
  void end(uint64_t begun) {
    if (cycles_.empty()) return;
    const uint64_t took = __rdtsc() - begun;
    const size_t at = count_.fetch_add(1, std::memory_order_relaxed);
    if (at < kMost) cycles_[at] = static_cast<uint32_t>(std::min<uint64_t>(took, UINT32_MAX));
  }
  // "handler cycles: COUNT LOWER-QUARTILE MEDIAN UPPER-QUARTILE" on standard error.
  void print() {
    const size_t count = std::min(count_.load(), kMost);
    if (cycles_.empty() || count == 0) return;
    std::sort(cycles_.begin(), cycles_.begin() + static_cast<std::ptrdiff_t>(count));
    fprintf(stderr, "oboro: handler cycles: %zu %u %u %u\n", count, cycles_[count / 4], cycles_[count / 2],
            cycles_[count * 3 / 4]);
  }

 private:
  static constexpr size_t kMost = size_t{1} << 20;
  std::vector<uint32_t> cycles_;
  std::atomic<size_t> count_{0};
};

}  // namespace oboro::tracer
