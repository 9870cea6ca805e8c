// Whether this host's KVM really runs guests. That /dev/kvm exists proves nothing: it may be closed to this user, busy
// with another hypervisor, or able to run only guests made for it (then an ordinary kernel is interpreted, thousands of
// times too slowly). So a loop is run in a throw-away virtual machine and compared with the same loop outside, which
// holds on slow, busy and emulated hosts alike.
#pragma once

#include "base/result.h"

namespace oboro::supervisor {

// Errors say why not: io (cannot be opened or used), unsupported (too slow, or lacks what tracing needs). Takes some
// milliseconds, at most ten seconds; the machine lives in a child process, so that nothing of it can hang this one.
Result<void> probe_kvm();

}  // namespace oboro::supervisor
