// The descriptors that a hidden service has open in its proxy. A handle is an open file description, like the kernel's
// struct file. The tracer keeps how many descriptors of the service refer to it.
//
// Threads: any. A handle that is closed while a call uses it is freed when that call ends.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/fd.h"

namespace oboro::proxy {

struct Handle {
  enum class Kind { file, directory, socket, epoll };
  Handle(Kind kind_, UniqueFd fd_) : kind(kind_), fd(std::move(fd_)) {}

  const Kind kind;
  std::shared_ptr<const void>
      counted;        // of a file, where its room is counted (disk_quota.h); goes after the descriptor
  const UniqueFd fd;  // of a socket: never blocks
  std::atomic<bool> nonblocking{false};  // as the service sees it
};

class Handles {
 public:
  explicit Handles(size_t most) : most_(most) {}

  // 0: there are too many.
  uint32_t add(std::shared_ptr<Handle> handle) {
    const std::lock_guard lock(mutex_);
    if (handles_.size() >= most_) return 0;
    while (++last_ == 0 || handles_.count(last_)) {
    }
    handles_.emplace(last_, std::move(handle));
    return last_;
  }
  std::shared_ptr<Handle> find(uint32_t number) const {
    const std::lock_guard lock(mutex_);
    const auto found = handles_.find(number);
    return found == handles_.end() ? nullptr : found->second;
  }
  std::shared_ptr<Handle> take(uint32_t number) {
    const std::lock_guard lock(mutex_);
    const auto found = handles_.find(number);
    if (found == handles_.end()) return nullptr;
    std::shared_ptr<Handle> handle = std::move(found->second);
    handles_.erase(found);
    return handle;
  }
  size_t size() const {
    const std::lock_guard lock(mutex_);
    return handles_.size();
  }

 private:
  const size_t most_;
  mutable std::mutex mutex_;
  std::unordered_map<uint32_t, std::shared_ptr<Handle>> handles_;
  uint32_t last_ = 0;
};

}  // namespace oboro::proxy
