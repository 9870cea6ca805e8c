// The QEMU process: one that is started with exactly the descriptors it needs, and ends with us; or one that was there
// before.
#pragma once

#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "supervisor/launch/gate.h"
#include "supervisor/launch/walls.h"

namespace oboro::supervisor {

class Child {
 public:
  // Starts command with further variables (NAME=VALUE) in its environment. `inherited` keep their numbers in the child.
  // The kernel ends the child with SIGKILL when this process ends, in whichever way: a guest never runs on without the
  // journal of its tracer. (A child that becomes another user has to ask for that again.) walls: what it is to be in.
  // gate: gets the one that it is behind, if there can be one.
  static Result<Child> start(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                             const std::vector<int>& inherited, const Walls* walls = nullptr, Gate* gate = nullptr);
  // Takes a process that is not our child. It is watched and can be ended, but goes on if we end.
  static Result<Child> adopt(pid_t pid);
  Child(Child&&) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();  // ends the child if it still runs

  pid_t pid() const { return pid_; }
  int poll_fd() const { return pidfd_.get(); }  // readable when the child has ended
  void terminate() const;                       // SIGTERM
  void kill() const;                            // SIGKILL
  void stop() const;                            // SIGSTOP: all of its threads stand still
  void go_on() const;                           // SIGCONT
  std::optional<int> wait();                    // its wait status, which the kernel tells only to parents
  bool ends_within(int timeout_ms) const;       // by itself

 private:
  Child(pid_t pid, UniqueFd pidfd, bool ours) : pid_(pid), ours_(ours), pidfd_(std::move(pidfd)) {}
  void signal(int number) const;
  pid_t pid_ = -1;
  bool ours_ = true;
  UniqueFd pidfd_;
};

}  // namespace oboro::supervisor
