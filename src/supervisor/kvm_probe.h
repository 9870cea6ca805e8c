// Whether this host's KVM really runs guests. That /dev/kvm exists proves nothing: it may be closed to this user, busy
// with another hypervisor, or able to run only guests made for it (then an ordinary kernel is interpreted, thousands of
// times too slowly). So a few million instructions are run in a throw-away virtual machine, against a time limit.
#pragma once

#include "base/result.h"

namespace oboro::supervisor {

// Errors say why not: io (cannot be opened or used), unsupported (too slow, or lacks what tracing needs). Takes up to
// two seconds; the machine lives in a child process, so that nothing of it can hang this one.
Result<void> probe_kvm();

}  // namespace oboro::supervisor
