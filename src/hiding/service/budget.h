// A limit to the memory that the calls of one hidden service make this process hold: data on its way to the proxy, and
// answers that nobody has taken yet or that a thread still hands over. A service may have thousands of threads, and its
// guest can stop each of them in the middle of a call.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

namespace oboro::hiding {

class Budget {
 public:
  static constexpr size_t kMost = size_t{128} << 20;  // bytes; what a last call asks for may come on top

  bool full() const { return used_.load(std::memory_order_relaxed) >= kMost; }
  size_t used() const { return used_.load(std::memory_order_relaxed); }

  // A part of the budget, held as long as this object lives.
  class Share {
   public:
    Share() = default;
    explicit Share(Budget& budget) : budget_(&budget) {}
    Share(Share&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Share& operator=(Share&& other) noexcept {
      if (this == &other) return *this;
      set(0);
      budget_ = std::exchange(other.budget_, nullptr);
      size_ = std::exchange(other.size_, 0);
      return *this;
    }
    ~Share() { set(0); }
    void set(size_t size) {
      if (!budget_) return;
      budget_->used_.fetch_add(size - size_, std::memory_order_relaxed);  // modulo 2^64 if it is less
      size_ = size;
    }

   private:
    Budget* budget_ = nullptr;
    size_t size_ = 0;
  };

 private:
  std::atomic<size_t> used_{0};
};

}  // namespace oboro::hiding
