// Reasons that have been given, each once. A reason is a string literal, known by its address.
//
// Threads: any, without a lock.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

namespace oboro::tracer {

class Reasons {
 public:
  static constexpr size_t kMost = 64;
  struct Added {
    size_t index;  // the same for the same reason, until clear(); kMost: there is no room
    bool is_new;
  };
  Added add(const char* why) {
    for (size_t i = 0; i < all_.size(); ++i) {
      const char* known = all_[i].load(std::memory_order_relaxed);
      if (!known && all_[i].compare_exchange_strong(known, why)) return {i, true};
      if (known == why) return {i, false};
    }
    return {kMost, false};
  }
  const char* at(size_t index) const { return all_[index].load(); }  // null: none has that index
  void clear() {
    for (auto& one : all_) one.store(nullptr, std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<const char*>, kMost> all_{};
};

}  // namespace oboro::tracer
