// x86-64 system-call numbers by name and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace oboro::arch {

namespace sys {
enum Number : uint64_t {
#define SYSTEM_CALL(number, name) name = number,
#include "arch/x86_64/system_calls.inc"
#undef SYSTEM_CALL
};
}  // namespace sys

inline constexpr size_t kSystemCallCount = 512;  // all numbers are lower

// "sendto"; empty if there is no such call.
std::string_view system_call_name(uint64_t number);

// Whether a task inside this call may be about to receive data from a socket, pipe or queue.
bool may_receive(uint64_t number);

}  // namespace oboro::arch
