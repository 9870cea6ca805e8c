// A thread of a hidden service, and what a routine can do on its behalf: have the guest's kernel call a function, copy
// from and to the thread's memory, ask the proxy, wait.
//
// How a kernel function is called: the vCPU stands at the first instruction of the hooked function. It goes on at the
// first instruction of the other one instead, with its arguments in the registers and, below the stack in use, the
// hooked function's own address to return to. So it comes back to the hook, in the same task and context, having slept
// in between if it wanted to. Nothing but that stack is changed, and a thread that is killed meanwhile comes back too.
//
// Threads: a Thread belongs to the vCPU that its task runs on.
#pragma once

#include <array>
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "engine/engine.h"
#include "guest/kernel.h"
#include "guest/profile/profile.h"
#include "guest/user_memory.h"
#include "guest/writer.h"
#include "hiding/service/descriptors.h"
#include "hiding/service/service.h"
#include "hiding/service/shared.h"
#include "hooks/operation.h"
#include "steer/routine.h"

namespace oboro::hiding {

using steer::Routine;

// struct pt_regs of x86-64.
struct Registers {
  uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

struct SystemCall {
  uint64_t number = 0;
  std::array<uint64_t, 6> a{};
  int descriptor(size_t i) const { return static_cast<int>(a[i]); }
};

struct Outcome {
  bool native = true;  // the kernel executes the call as it is
  int64_t value = 0;   // else: its result
  static Outcome answer(int64_t value) { return {false, value}; }
};

inline constexpr uint64_t kCloseOnExec = 02000000;  // O_CLOEXEC, as the guest's kernel takes it for a number

uint64_t now_ns();  // monotonic

class Thread {
 public:
  static constexpr unsigned kBufferOrder = 3;
  static constexpr size_t kBufferSize = size_t{4096} << kBufferOrder;

  Thread(const guest::Kernel& kernel, Service& service, Wait wait, guest::Task task, uint32_t tgid)
      : descriptors(std::make_shared<DescriptorTable>(service.descriptor_count)),
        kernel_(kernel),
        writer_(kernel),
        service_(&service),
        wait_(wait),
        task_(task),
        tgid_(tgid) {}

  guest::Task task() const { return task_; }
  uint32_t tgid() const { return tgid_; }
  Service& service() { return *service_; }
  const guest::Kernel& kernel() const { return kernel_; }
  const guest::Writer& writer() const { return writer_; }
  // The hook that runs now, and the system call that it is about.
  hooks::Operation& operation() { return *operation_; }
  uint64_t number() const { return number_; }

  std::shared_ptr<DescriptorTable> descriptors;
  Gva files;            // the files_struct they are of
  bool repair = false;  // numbers are to be reserved anew
  // What close_range(2) is to close in the descriptors that it makes this thread's own (CLOSE_RANGE_UNSHARE).
  struct Range {
    uint32_t first, last;
    bool mark_only;
  };
  std::optional<Range> to_close;
  // A poll(2) that a signal has ended, in case it goes on by itself: its time does, too (struct restart_block).
  struct UnfinishedPoll {
    std::array<uint64_t, 3> arguments;
    uint64_t deadline;  // now_ns()
  };
  std::optional<UnfinishedPoll> unfinished_poll;
  // The task may have another files_struct by now: unshare(2), or an exec of one that shared it. False: it has more
  // descriptors than can be kept.
  bool follow_files(Gva now);
  std::shared_ptr<Shared<std::string>> directory = std::make_shared<Shared<std::string>>();  // current one, if hidden

  // --- between the hook and the routine (hider.cpp)
  // A task runs on one vCPU at a time, says its kernel, which may be hostile. False: another vCPU is at it.
  bool take() { return !taken_.exchange(true, std::memory_order_acquire); }
  void leave() { taken_.store(false, std::memory_order_release); }
  // Starts a routine at a hook of a function, or goes on with it. What the vCPU is to do then is in op.response, unless
  // the routine has come to its end: its outcome.
  std::optional<Outcome> enter(hooks::Operation& op, guest::Symbol function,
                               Routine<Outcome> (*start)(Thread&, SystemCall), const SystemCall& call);
  // Whether the vCPU stands there because a kernel function that the routine called has returned. (A hostile kernel may
  // call the hooked function for this thread meanwhile.)
  bool comes_back(hooks::Operation& op, guest::Symbol function) const;
  // The function is called anew: what was left of another call is dropped.
  void begin(hooks::Operation& op, guest::Symbol function);
  bool busy() const { return busy_.load(); }  // any thread may ask
  bool at_function(guest::Symbol function) const { return busy() && entry_function_ == kernel_.symbol(function).value; }
  bool leaving = false;                               // exec of what is not hidden
  std::optional<Registers> shown;                     // the user's registers, while others are in their place
  void note(hooks::Operation& op, const char* what);  // for the log
  uint64_t entry_stack() const { return entry_stack_; }
  const std::array<uint64_t, 4>& entry_arguments() const { return entry_arguments_; }

  // --- for routines
  struct KernelCall {
    Thread& thread;
    Gva function;
    std::array<uint64_t, 4> arguments;
    unsigned argument_count;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) { thread.suspend(handle, *this); }
    uint64_t await_resume() const { return thread.returned_; }
  };
  template <typename... Arguments>
  KernelCall call(guest::Symbol function, Arguments... arguments) {
    return {*this, kernel_.symbol(function), {static_cast<uint64_t>(arguments)...}, sizeof...(arguments)};
  }

  // Memory of the guest's kernel, of kBufferSize, for this thread alone. False: it has none.
  Routine<bool> need_buffer();
  Gva buffer() const { return buffer_; }
  // A word of its stack, for an argument that is a pointer.
  Gva scratch() const { return Gva(entry_stack_ - kScratch); }
  bool read_buffer(size_t offset, std::span<std::byte> out) const {
    return kernel_.read(buffer_ + offset, out.data(), out.size());
  }
  Routine<Outcome> free_buffer();

  // Copies by the guest's own copy_from_user and copy_to_user, or what is there to be read at once. Results: 0 or
  // -errno.
  Routine<int64_t> copy_in(uint64_t user, std::span<std::byte> out);
  Routine<int64_t> copy_out(uint64_t user, std::span<const std::byte> bytes);
  // As far as it goes: how many bytes, or -errno if none.
  Routine<int64_t> copy_some_in(uint64_t user, std::span<std::byte> out);
  Routine<int64_t> copy_some_out(uint64_t user, std::span<const std::byte> bytes);
  Routine<int64_t> copy_string(uint64_t user, std::string& out);  // -ENAMETOOLONG from PATH_MAX on

  // One of the guest kernel's own system-call functions (__x64_sys_...), with these arguments.
  Routine<int64_t> kernel_own(guest::Symbol function, std::array<uint64_t, 6> arguments);

  // Has the proxy execute a call. interrupted: the result if a signal ends the wait; 0: only death ends it.
  Routine<Answer> ask(proxy::Frame call, int64_t interrupted = 0);
  // One wait: a look, a pause, a look...
  struct Waiting {
    uint64_t call = 0;         // the proxy's answer to which is waited for; 0: something else
    bool foreseeable = false;  // it is over as soon as the proxy has done its work
    uint64_t expected = 0;     // after that time (ns)
    uint64_t since = 0;
    unsigned pauses = 0;
    bool stood = false;  // the last one: the vCPU stood still until there was an answer, or for too long
    uint64_t waited() const { return pauses ? now_ns() - since : 0; }
  };
  // Lets time pass, and not far beyond the deadline (now_ns()). True: a signal (interruptible), or death, is there.
  // sleeper: what else is to sleep so long, if it comes to that.
  enum class Sleep : uint32_t { interruptible = 1, killable = 0x102 };  // task_struct.__state
  using Sleeper = std::function<Routine<bool>(uint64_t nanoseconds)>;
  Routine<bool> pause(Waiting& waiting, Sleep sleep, uint64_t deadline = UINT64_MAX, const Sleeper* sleeper = nullptr);
  static constexpr uint64_t kShortestSleepNs = 20'000, kLongestSleepNs = 80'000'000;
  Routine<bool> sleep(uint64_t nanoseconds, Sleep sleep);

  std::shared_ptr<OpenFile> open_file(int64_t handle) {
    return std::make_shared<OpenFile>(*service_->proxy, service_->locks, static_cast<uint32_t>(handle));
  }
  // A number for a file that is open in the proxy, reserved in the guest. -errno: there is none.
  Routine<int64_t> reserve(std::shared_ptr<OpenFile> file, bool close_on_exec);
  // Whether the guest has the number reserved and nothing there.
  bool reserved(uint32_t number) const;

 private:
  // Below the hooked function's return address: the detour's own, and a few words for arguments that are pointers.
  static constexpr uint64_t kFrame = 144, kScratch = 136;

  friend struct KernelCall;
  void suspend(std::coroutine_handle<> handle, const KernelCall& call) {
    resume_ = handle;
    pending_ = &call;
  }
  void detour();
  guest::UserMemory user_memory() { return {kernel_, operation_->vcpu.reg(arch::Reg::cr3)}; }
  Answer proxy_is_gone();

  const guest::Kernel& kernel_;
  guest::Writer writer_;
  Service* service_;
  Wait wait_;
  guest::Task task_;
  uint32_t tgid_;
  hooks::Operation* operation_ = nullptr;

  Routine<Outcome> routine_;
  std::atomic<bool> busy_{false}, taken_{false};
  std::coroutine_handle<> resume_;
  const KernelCall* pending_ = nullptr;
  uint64_t returned_ = 0;
  uint64_t entry_stack_ = 0, entry_function_ = 0, number_ = 0;
  std::array<uint64_t, 4> entry_arguments_{};

  Gva buffer_;
  uint64_t crowded_until_ = 0;  // others want the CPU: a yield takes long
};

}  // namespace oboro::hiding
