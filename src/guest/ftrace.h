// ftrace's list of the places in the kernel's code that it may patch (kernel/trace/ftrace.c: ftrace_pages_start).
#pragma once

#include <span>
#include <vector>

#include "guest/kernel.h"

namespace oboro::guest {

// ftrace leaves out, in everything that it does, a record that is marked so and not in use: bit FTRACE_FL_DISABLED of
// dyn_ftrace.flags (include/linux/ftrace.h).
inline constexpr uint64_t kFtraceDisabled = uint64_t{1} << 25;

// The addresses of the flags of these instructions' records; null where ftrace has no record. The list is empty if this
// kernel has no ftrace, or if ftrace's list cannot be read.
std::vector<Gva> ftrace_flags(Reader& r, std::span<const Gva> instructions);

}  // namespace oboro::guest
