// `oboro run` once its options are understood: starts QEMU with the tracer, writes the journal, answers the tracer's
// questions about kernels, and ends when the guest does.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "supervisor/journal_writer.h"
#include "supervisor/machine.h"

namespace oboro::supervisor {

struct Options {
  Machine machine;
  std::string state_dir;
  std::vector<Rule> rules;
  bool deny_leaks = false;
  bool allow_untraced = false;
  Parts parts;
  std::string builder;  // oboro-profile
};

enum class Ending { guest_ended, failed, not_traceable };

// Blocks until the guest has ended. Messages for the user go to standard error as they arise.
Result<Ending> run(const Options& options);

}  // namespace oboro::supervisor
