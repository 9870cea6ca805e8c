// A task of the guest that is to do more than the hooked function that it has called. Its kernel calls functions on its
// behalf, copies from and to its memory, and lets it wait for somebody outside of the guest.
//
// How a kernel function is called: the vCPU stands at the first instruction of the hooked function. It goes on at the
// first instruction of the called function instead, with that one's arguments in the registers. The address to return
// to, below the stack in use, is the hooked function's own. So the vCPU comes back to the hook, in the same task and
// context; the task may have slept in between. Nothing but that stack is changed. A thread that is killed meanwhile
// comes back, too.
//
// Threads: a SteeredTask belongs to the vCPU that its task runs on.
#pragma once

#include <array>
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "guest/kernel.h"
#include "guest/profile/profile.h"
#include "guest/task.h"
#include "guest/user_memory.h"
#include "guest/writer.h"
#include "steer/answerable.h"
#include "steer/routine.h"

namespace oboro::steer {

// The end of a routine.
struct Outcome {
  bool native = true;  // the guest's kernel goes on as if nothing had been done
  int64_t value = 0;   // otherwise: the result of what the kernel would have done
  static Outcome answer(int64_t value) { return {false, value}; }
};

class SteeredTask {
 public:
  static constexpr unsigned kBufferOrder = 3;
  static constexpr size_t kBufferSize = size_t{4096} << kBufferOrder;

  SteeredTask(const guest::Kernel& kernel, guest::Task task, Wait wait)
      : kernel_(kernel), writer_(kernel), task_(task), wait_(wait) {}
  SteeredTask(const SteeredTask&) = delete;
  SteeredTask& operator=(const SteeredTask&) = delete;

  // The symbol that steering needs and the profile lacks; empty: none.
  static std::string_view missing(const guest::Profile& profile);

  guest::Task task() const { return task_; }
  const guest::Kernel& kernel() const { return kernel_; }
  const guest::Writer& writer() const { return writer_; }

  // --- at the hook
  // The vCPU's thread takes the task. The guest's kernel says that a task runs on one vCPU at a time, but it may be
  // hostile. False: another vCPU has taken the task.
  bool take() { return !taken_.exchange(true, std::memory_order_acquire); }
  void leave() { taken_.store(false, std::memory_order_release); }
  // Whether the vCPU stands at the hook because a kernel function that the routine called has returned. (A hostile
  // kernel may call the hooked function for this task meanwhile.)
  bool comes_back(engine::Vcpu& vcpu, guest::Symbol function) const;
  // The function is called anew: what is left of another call is dropped.
  void begin(engine::Vcpu& vcpu, guest::Symbol function);
  // Starts a routine, after begin(); or goes on with it, if comes_back(). Returns the outcome once the routine has come
  // to its end. Until then, `response` is what the vCPU is to do.
  std::optional<Outcome> start(engine::Vcpu& vcpu, Routine<Outcome> routine, engine::Response& response);
  std::optional<Outcome> go_on(engine::Vcpu& vcpu, engine::Response& response);
  // The answers after the routine: the hooked function runs as it was called, or it returns.
  engine::Response runs() const { return engine::RunAs{entry_frame_, entry_arguments_}; }
  engine::Response returns(int64_t value) const {
    return engine::Return{value, engine::RunAs{entry_frame_, entry_arguments_}};
  }

  bool busy() const { return busy_.load(); }  // any thread may ask
  bool at_function(guest::Symbol function) const { return busy() && entry_function_ == kernel_.symbol(function).value; }
  const std::array<uint64_t, engine::Call::kMostArguments>& entry_arguments() const { return entry_arguments_; }

  // --- for routines
  struct KernelCall {
    SteeredTask& task;
    Gva function;
    std::array<uint64_t, engine::Call::kMostArguments> arguments;
    unsigned argument_count;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) { task.suspend(handle, *this); }
    uint64_t await_resume() const { return task.returned_; }
  };
  template <typename... Arguments>
  KernelCall call(guest::Symbol function, Arguments... arguments) {
    return {*this, kernel_.symbol(function), {static_cast<uint64_t>(arguments)...}, sizeof...(arguments)};
  }

  // Gets memory of the guest's kernel, kBufferSize bytes, for this task alone. False: the kernel has none.
  Routine<bool> need_buffer();
  Gva buffer() const { return buffer_; }
  // A word of the task's stack, for an argument that is a pointer.
  Gva scratch() const { return entry_frame_.stack - kScratch; }
  bool read_buffer(size_t offset, std::span<std::byte> out) const {
    return kernel_.read(buffer_ + offset, out.data(), out.size());
  }
  Routine<Outcome> free_buffer();

  // Copies by the guest's own copy_from_user and copy_to_user, or directly where the bytes can be read at once.
  // Results: 0 or -errno.
  Routine<int64_t> copy_in(uint64_t user, std::span<std::byte> out);
  Routine<int64_t> copy_out(uint64_t user, std::span<const std::byte> bytes);
  // Copies as far as it goes. Returns how many bytes, or -errno if none.
  Routine<int64_t> copy_some_in(uint64_t user, std::span<std::byte> out);
  Routine<int64_t> copy_some_out(uint64_t user, std::span<const std::byte> bytes);
  Routine<int64_t> copy_string(uint64_t user, std::string& out);  // -ENAMETOOLONG from PATH_MAX on

  // Calls one of the guest kernel's own system-call functions (__x64_sys_...), with these arguments.
  Routine<int64_t> kernel_own(guest::Symbol function, std::array<uint64_t, 6> arguments);

  // --- waiting (wait.cpp)
  // The task waits, and the guest goes on, until `asked` has answered. `asked` and how.expectation must live until
  // then.
  Routine<WaitEnd> wait_for(Answerable& asked, WaitFor how);
  // One part of a wait: lets time pass, and not far beyond the deadline (now_ns()). True: a signal (interruptible), or
  // death, is there. sleeper: what sleeps instead, for so long, if it comes to a sleep.
  enum class Sleep : uint32_t { interruptible = 1, killable = 0x102 };  // task_struct.__state
  using Waiting = steer::Waiting;
  using Sleeper = std::function<Routine<bool>(uint64_t nanoseconds)>;
  Routine<bool> pause(Waiting& waiting, Sleep sleep, uint64_t deadline = UINT64_MAX, const Sleeper* sleeper = nullptr);
  static constexpr uint64_t kShortestSleepNs = 20'000, kLongestSleepNs = 80'000'000;
  Routine<bool> sleep(uint64_t nanoseconds, Sleep sleep);

 private:
  // Below the hooked function's frame: the frame of the called function, and above that a few words for arguments that
  // are pointers.
  static constexpr uint64_t kFrame = 144, kScratch = 136;

  friend struct KernelCall;
  void suspend(std::coroutine_handle<> handle, const KernelCall& call) {
    resume_ = handle;
    pending_ = &call;
  }
  std::optional<Outcome> suspended_or_done(engine::Response& response);
  guest::UserMemory user_memory() { return {kernel_, arch::current_tables(*vcpu_, kernel_.layout().tables)}; }

  const guest::Kernel& kernel_;
  guest::Writer writer_;
  guest::Task task_;
  Wait wait_;
  engine::Vcpu* vcpu_ = nullptr;  // while the routine runs

  Routine<Outcome> routine_;
  std::atomic<bool> busy_{false}, taken_{false};
  std::coroutine_handle<> resume_;
  const KernelCall* pending_ = nullptr;
  uint64_t returned_ = 0;
  arch::CallFrame entry_frame_,
      called_frame_;  // of the hooked function; of the function that the vCPU was sent to last
  uint64_t entry_function_ = 0;
  std::array<uint64_t, engine::Call::kMostArguments> entry_arguments_{};

  Gva buffer_;
  uint64_t crowded_until_ = 0;  // others want the CPU until then: a yield takes long
};

}  // namespace oboro::steer
