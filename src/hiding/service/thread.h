// A thread of a hidden service: a steered task (src/steer) that has descriptors in its service's proxy, and asks that
// proxy.
//
// Threads: a Thread belongs to the vCPU that its task runs on.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "guest/kernel.h"
#include "hiding/service/descriptors.h"
#include "hiding/service/service.h"
#include "hiding/service/shared.h"
#include "hooks/operation.h"
#include "steer/routine.h"
#include "steer/steered_task.h"

namespace oboro::hiding {

namespace sys = arch::sys;
using steer::now_ns;
using steer::Outcome;
using steer::Routine;

struct SystemCall {
  uint64_t number = 0;
  std::array<uint64_t, 6> a{};
  int descriptor(size_t i) const { return static_cast<int>(a[i]); }
};

inline constexpr uint64_t kCloseOnExec = 02000000;  // O_CLOEXEC, as the guest's kernel takes it for a number

class Thread : public steer::SteeredTask {
 public:
  Thread(const guest::Kernel& kernel, Service& service, Wait wait, guest::Task task, uint32_t tgid)
      : SteeredTask(kernel, task, wait),
        descriptors(std::make_shared<DescriptorTable>(service.descriptor_count)),
        service_(&service),
        tgid_(tgid) {}

  uint32_t tgid() const { return tgid_; }
  Service& service() { return *service_; }
  // The hook that runs now, and its system call.
  hooks::Operation& operation() { return *operation_; }
  uint64_t number() const { return number_; }

  std::shared_ptr<DescriptorTable> descriptors;
  Gva files;            // the files_struct of these descriptors
  bool repair = false;  // the numbers are to be reserved anew
  // The numbers that close_range(2) is to close, once it has made the descriptors this thread's own
  // (CLOSE_RANGE_UNSHARE).
  struct Range {
    uint32_t first, last;
    bool mark_only;
  };
  std::optional<Range> to_close;
  // A poll(2) that a signal has ended, in case it goes on by itself. Its time then goes on, too (struct restart_block).
  struct UnfinishedPoll {
    std::array<uint64_t, 3> arguments;
    uint64_t deadline;  // now_ns()
  };
  std::optional<UnfinishedPoll> unfinished_poll;
  // The task may have another files_struct by now, by unshare(2) or by an exec if it shared one. False: it has more
  // descriptors than can be kept.
  bool follow_files(Gva now);
  std::shared_ptr<Shared<std::string>> directory = std::make_shared<Shared<std::string>>();  // current one, if hidden

  // --- between the hook and the routine (hider.cpp)
  // Starts a routine at the hook of a function, or goes on with it. Returns the outcome if the routine has come to its
  // end. If not, op.response says what the vCPU is to do.
  std::optional<Outcome> enter(hooks::Operation& op, guest::Symbol function,
                               Routine<Outcome> (*routine)(Thread&, SystemCall), const SystemCall& call);
  void begin(hooks::Operation& op, guest::Symbol function);
  bool leaving = false;                              // it executes a program that is not hidden
  std::optional<arch::UserRegisters> shown;          // the user's registers, while others are in their place
  void log(hooks::Operation& op, const char* what);  // for the log

  // --- for routines
  // Has the proxy execute a call. interrupted: the result if a signal ends the wait; 0: only the task's death ends it.
  Routine<Answer> ask(ProxyCall call, int64_t interrupted = 0);
  // What a call has opened.
  std::shared_ptr<OpenFile> open_file(const Answer& opened) {
    return std::make_shared<OpenFile>(opened.from, service_->locks, static_cast<uint32_t>(opened.result()));
  }
  // Reserves a number in the guest for a file that is open in the proxy. Returns the number, or -errno.
  Routine<int64_t> reserve(std::shared_ptr<OpenFile> file, bool close_on_exec);
  // Whether the guest has the number reserved, with no file there.
  bool reserved(uint32_t number) const;

 private:
  Answer proxy_is_gone(const ProxyClient& proxy);

  Service* service_;
  uint32_t tgid_;
  hooks::Operation* operation_ = nullptr;
  uint64_t number_ = 0;
};

}  // namespace oboro::hiding
