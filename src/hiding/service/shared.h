// A value that threads of a service share, and that two of them may use at the same time, on two vCPUs. It is taken and
// given only as a whole.
#pragma once

#include <mutex>
#include <utility>

namespace oboro::hiding {

template <typename T>
class Shared {
 public:
  Shared() = default;
  explicit Shared(T value) : value_(std::move(value)) {}
  T get() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  void set(T value) {
    const std::lock_guard lock(mutex_);
    std::swap(value_, value);  // the old value is freed without the lock
  }

 private:
  mutable std::mutex mutex_;
  T value_;
};

}  // namespace oboro::hiding
