// Gives up everything a process has but memory and its open standard output. oboro-profile does this before it looks at
// the first byte of a guest's kernel.
#pragma once

#include "base/result.h"

namespace oboro::guest {

// Irrevocable, for the whole (single-threaded) process. Afterwards the process can allocate memory, write to file
// descriptors 1 and 2, and exit; any other system call ends it (SIGSYS). All file descriptors above 2 are closed.
// These must hold, or an error comes back: no new privileges, resource limits, no capabilities, user nobody when
// started as root, the system call filter (but not in builds with a sanitizer). These are set as far as the host
// allows: user, network and IPC namespaces of its own.
Result<void> lock_down();

}  // namespace oboro::guest
