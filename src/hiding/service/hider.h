// Hidden services: which threads of the guest belong to them, and what becomes of these threads' system calls.
//
// A thread of a hidden service has the SYSCALL_USER_DISPATCH bit set in its thread_info.syscall_work. So its kernel
// calls syscall_user_dispatch(), where there is a hook, first of all in every system call and before any tracer in the
// guest is told. The service's proxy (src/proxy) executes a call that concerns hidden files and sockets, and the hook
// gives its answer. The kernel executes every other call. No other thread pays anything.
//
// Threads: any vCPU thread.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "hiding/service/service.h"
#include "hiding/service/thread.h"
#include "hooks/operation.h"
#include "hooks/table.h"
#include "stream/ring.h"

namespace oboro::hiding {

class Hider final : public hooks::ProcessWatcher {
 public:
  // services and kernel must outlive this. A Hider lives for one boot.
  Hider(const guest::Kernel& kernel, std::span<const std::unique_ptr<Service>> services, Wait wait,
        stream::RingCounters& counters)
      : kernel_(kernel), writer_(kernel), services_(services), wait_(wait), counters_(counters) {}
  Hider(const Hider&) = delete;
  Hider& operator=(const Hider&) = delete;

  // Functions that are hooked for hidden services alone. Their handlers may answer with any engine::Response.
  std::span<const hooks::HookPoint> hook_points() const { return points_; }

  // Why services cannot be hidden in this kernel; empty if they can.
  static std::string missing(const guest::Profile& profile);

  // The file names of the services' programs. Empty: some service may be any program (it is known by its unit only).
  static std::vector<std::string> executables(std::span<const std::unique_ptr<Service>> services);

  // No thread will be hidden. To be called before any is.
  void hide_nothing() { retired_ = true; }

  // From now on nothing is hidden. Calls that wait end with -EIO. Each thread gives its memory back at its next call,
  // and is forgotten. patient: a thread that has not done so keeps its mark until it does; otherwise no thread keeps
  // its mark. Returns the threads that still have to come back to their hook, in words; empty if there is none. That is
  // certain if no vCPU is at a hook meanwhile.
  std::string retire(bool patient);

  void forked(hooks::Operation& op, guest::Task child) override;
  std::optional<uint64_t> system_call_of(guest::Task running) override;
  void timed_system_call(hooks::Operation& op);  // as system_call(), and counts how long the vCPU stood still
  void executed(hooks::Operation& op);
  void exits(hooks::Operation& op);

 private:
  void system_call(hooks::Operation& op);
  std::shared_ptr<Thread> find(Gva task);
  // The same for a thread that goes on with its routine. Null also if another vCPU has the thread.
  struct Leave {
    std::shared_ptr<Thread> thread;
    void operator()(Thread* held) const { held->leave(); }
  };
  using Held = std::unique_ptr<Thread, Leave>;
  Held take(hooks::Operation& op, Gva task);
  // No other vCPU has the thread until it is complete. Null: there are too many.
  Held add(hooks::Operation& op, guest::Task task, Service& service);
  void remove(hooks::Operation& op, guest::Task task);
  void forget(hooks::Operation& op, Gva task);
  bool mark(guest::Task task, bool on);
  Service* service_of(hooks::Operation& op, const std::string& exe) const;
  void finish_call(hooks::Operation& op, Thread& thread, Gva registers, Outcome outcome);
  static void run_function(hooks::Operation& op, const Thread& thread);

  // A routine comes back to its hook with other registers, so the interest of these must not depend on arguments.
  const std::array<hooks::HookPoint, 3> points_{{
      {guest::Symbol::fn_syscall_user_dispatch, hooks::Handler::of<&Hider::timed_system_call>(*this), true,
       hooks::Interest::every_call, "calls of hidden services"},
      {guest::Symbol::fn_bprm_committed_creds, hooks::Handler::of<&Hider::executed>(*this), true,
       hooks::Interest::executed, "starts of hidden services"},
      {guest::Symbol::fn_exit_files, hooks::Handler::of<&Hider::exits>(*this), true, hooks::Interest::managed,
       "ends of hidden services"},
  }};
  const guest::Kernel& kernel_;
  guest::Writer writer_;
  std::span<const std::unique_ptr<Service>> services_;
  Wait wait_;
  stream::RingCounters& counters_;
  std::atomic<bool> retired_{false};
  std::mutex mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<Thread>> threads_;  // by task_struct
  std::unordered_map<uint32_t, unsigned> processes_;               // threads, by thread-group ID
  std::unordered_map<const Service*, size_t> threads_of_;
};

}  // namespace oboro::hiding
