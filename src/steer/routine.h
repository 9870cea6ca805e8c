// Routines: what is done for a task of the guest between the hook of a function that the task has called and the end of
// that function, written as if it could wait. A routine is suspended each time it has something for the guest's kernel
// to do, or time to pass, and the vCPU goes on. When the kernel comes back to the hook, the routine goes on
// (steered_task.h).
//
// Threads: a routine runs on one vCPU thread at a time, from resumption to suspension.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace oboro::steer {

template <typename T>
class [[nodiscard]] Routine {
 public:
  struct promise_type {
    std::optional<T> value;
    std::coroutine_handle<> caller;

    Routine get_return_object() { return Routine(Handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) noexcept {
        return h.promise().caller ? h.promise().caller : std::noop_coroutine();
      }
      void await_resume() noexcept {}
    };
    Final final_suspend() noexcept { return {}; }
    void return_value(T result) { value = std::move(result); }
    void unhandled_exception() { std::terminate(); }  // none is thrown but for want of memory
  };
  using Handle = std::coroutine_handle<promise_type>;

  Routine() = default;
  Routine(Routine&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Routine& operator=(Routine&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  ~Routine() {
    if (handle_) handle_.destroy();
  }

  explicit operator bool() const { return static_cast<bool>(handle_); }
  bool done() const { return handle_.done(); }
  void start() { handle_.resume(); }
  T take() { return std::move(*handle_.promise().value); }
  std::coroutine_handle<> handle() const { return handle_; }

  // For another routine that awaits this one: this one runs to its end first.
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
    handle_.promise().caller = caller;
    return handle_;
  }
  T await_resume() { return take(); }

 private:
  explicit Routine(Handle handle) : handle_(handle) {}
  Handle handle_;
};

}  // namespace oboro::steer
