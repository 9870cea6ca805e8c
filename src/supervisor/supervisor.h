// `oboro run` after its options are understood: starts QEMU with the tracer, writes the journal, answers the tracer's
// questions about kernels, and ends when the guest does.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "supervisor/options.h"

namespace oboro::supervisor {

// Turns this process into QEMU with these arguments, traced on KVM. Another process, of its own session, supervises it.
// For `oboro-qemu`. Of options.machine only vm, hooks and qemu count. Returns only if it could not be done.
Error become_qemu(const Options& options, const std::vector<std::string>& arguments);

// Blocks until the guest has ended. Messages for the user go to standard error as they arise.
Result<Ending> run(const Options& options);

}  // namespace oboro::supervisor
