// The QEMU process: started with exactly the descriptors it needs, ended with us.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::supervisor {

class Child {
 public:
  // Starts command with further variables (NAME=VALUE) in its environment; `inherited` keep their numbers in the child. The kernel ends the child with SIGKILL when this
  // process ends, however it does: a guest never runs on without its tracer's journal.
  static Result<Child> start(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                             const std::vector<int>& inherited);
  Child(Child&&) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();  // ends the child if it still runs

  pid_t pid() const { return pid_; }
  int poll_fd() const { return pidfd_.get(); }  // readable when the child has ended
  // SIGTERM, after a grace period SIGKILL; returns its wait status.
  int end(int grace_ms);
  int wait();

 private:
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

}  // namespace oboro::supervisor
