// Who a process is, beyond its names: its user, its parent, its arguments, and what runs it. Slow path. Each of these
// may be absent: the kernel lacks it, it is not in RAM, or the guest says nonsense.
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

// The arguments, from mm->arg_start on. The task has to stand still (the running one of a stopped vCPU): its pages are
// read without the kernel's knowledge.
std::vector<std::string> arguments(Reader& r, Task running);
// The arguments of a program that begin_new_exec() is about to run.
std::vector<std::string> arguments_of_program(Reader& r, Gva linux_binprm);

struct Runner {
  std::string unit;       // "ssh.service", "session-3.scope": the innermost unit of systemd
  std::string container;  // the ID that Docker, Podman, containerd or CRI-O gave it
};
// The unit and container, by the path of a control group.
Runner runner_of(std::string_view cgroup);

}  // namespace oboro::guest
