// x86-64 system-call numbers by name and back.
#pragma once

#include <cstdint>
#include <string_view>

namespace oboro::arch {

// "sendto"; empty if there is no such call.
std::string_view syscall_name(uint64_t number);

// True if a task that is inside this call may be about to receive data from a socket, pipe or queue.
bool may_receive(uint64_t number);

inline constexpr uint64_t kSyscallConnect = 42;

}  // namespace oboro::arch
