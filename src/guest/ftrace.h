// ftrace's list of the places in the kernel's code that it may patch (kernel/trace/ftrace.c: ftrace_pages_start).
#pragma once

#include <span>
#include <vector>

#include "guest/kernel.h"

namespace oboro::guest {

// A record that is marked so, and not in use, is left out by everything that ftrace does: bit FTRACE_FL_DISABLED of
// dyn_ftrace.flags (include/linux/ftrace.h).
inline constexpr uint64_t kFtraceDisabled = uint64_t{1} << 25;

// Where the flags of the records for these instructions are; null for those that ftrace has none for. An empty list if
// this kernel has no ftrace, or its list cannot be read.
std::vector<Gva> ftrace_flags(Reader& r, std::span<const Gva> instructions);

}  // namespace oboro::guest
