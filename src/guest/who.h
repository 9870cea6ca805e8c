// Who a process is, beyond its names: its user, its parent, its arguments, and what runs it. Slow path. Everything here
// may be absent: from the kernel, from RAM, or because the guest says nonsense.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guest/task.h"

namespace oboro::guest {

inline constexpr size_t kMaxArgumentBytes = 4096;
inline constexpr size_t kMaxArguments = 64;

std::optional<uint32_t> user(Reader& r, Task of);        // cred->uid
std::optional<uint32_t> login_user(Reader& r, Task of);  // task->loginuid; none where no login has set it
uint32_t parent(Reader& r, Task of);                     // PID; 0: unknown

// From mm->arg_start on. The task has to be one that stands still (the running one of a stopped vCPU): its pages are
// read without the kernel's knowledge.
std::vector<std::string> arguments(Reader& r, Task running);
// The same of a program that begin_new_exec() is about to run.
std::vector<std::string> arguments_of_program(Reader& r, Gva linux_binprm);

struct Runner {
  std::string unit;       // "ssh.service", "session-3.scope": the innermost of systemd
  std::string container;  // the ID that Docker, Podman, containerd or CRI-O gave it
};
// By the path of a control group.
Runner runner_of(std::string_view cgroup);

}  // namespace oboro::guest
