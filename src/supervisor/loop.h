// An event loop: descriptors, timers, signals and the ends of processes (by pidfd, as a descriptor), each with its
// handler. One thread. Handlers must not block. They may add and drop anything, themselves too.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <unordered_map>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::supervisor {

class Loop {
  struct Entry;
  struct State;

 public:
  // The loop looks at this as long as it is kept. It may outlive the loop. A descriptor stays its owner's, and must be
  // open until this is gone.
  class Watch {
   public:
    Watch() = default;
    Watch(Watch&& other) noexcept;
    Watch& operator=(Watch&& other) noexcept;
    ~Watch();
    void drop();
    explicit operator bool() const { return token_ != 0; }

   private:
    friend class Loop;
    Watch(std::weak_ptr<State> state, uint64_t token) : state_(std::move(state)), token_(token) {}
    std::weak_ptr<State> state_;
    uint64_t token_ = 0;
  };

  static Result<Loop> create();

  // The handler is called in every turn in which fd can be read or has come to its end.
  Result<Watch> readable(int fd, std::function<void()> handler);
  // The handler is called once, not before that time has passed.
  Result<Watch> after(std::chrono::milliseconds time, std::function<void()> handler);
  // These signals are blocked in this thread, and stay so. The handler gets the signal's number.
  Result<Watch> signals(std::initializer_list<int> which, std::function<void(int)> handler);

  // Waits for something to do, at most this long (-1 ms: for ever), and does all of it. Returns how many handlers were
  // called.
  Result<size_t> turn(std::chrono::milliseconds most);
  // Takes turns until stop().
  Result<void> run();
  void stop() { stopped_ = true; }

 private:
  explicit Loop(std::shared_ptr<State> state) : state_(std::move(state)) {}
  Result<Watch> add(int fd, UniqueFd owned, std::function<void()> handler);

  std::shared_ptr<State> state_;
  bool stopped_ = false;
};

}  // namespace oboro::supervisor
