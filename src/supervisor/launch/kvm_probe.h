// Whether this host's KVM really runs guests. /dev/kvm alone proves nothing: it may be closed to this user, busy with
// another hypervisor, or able to run only guests made for it (an ordinary kernel is interpreted then, thousands of
// times too slowly). So a loop is run in a throw-away virtual machine, and its time is compared with the same loop's
// time outside. That comparison holds on slow, busy and emulated hosts alike.
#pragma once

#include "base/result.h"

namespace oboro::supervisor {

// Errors say why not: io (cannot be opened or used), unsupported (too slow, or lacks what tracing needs). Takes some
// milliseconds, and at most ten seconds. The machine lives in a child process, so that nothing of it can hang this one.
Result<void> probe_kvm();

}  // namespace oboro::supervisor
