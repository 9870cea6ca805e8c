// `oboro run` once its options are understood: starts QEMU with the tracer, writes the journal, answers the tracer's
// questions about kernels, and ends when the guest does.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "link/settings.h"
#include "supervisor/journal_writer.h"
#include "supervisor/launch/machine.h"
#include "supervisor/launch/proxies.h"

namespace oboro::supervisor {

struct Options {
  Machine machine;
  std::string state_dir;
  std::vector<Rule> rules;
  policy::Policy policy;
  uint64_t capacity = link::Settings::kDefaultCapacity;  // managed objects that there is room for
  // Not set: pause where leaks are denied, else detach. Not for run(), whose QEMU always ends with it.
  std::optional<link::SupervisorLoss> on_supervisor_loss;
  bool allow_untraced = false;
  Parts parts;
  std::string builder;  // oboro-profile
  ProxyPlace proxy;     // where proxies of hidden services run
  std::vector<HiddenService> hidden;
  std::string wait = "park";  // how hidden services wait: block, yield, park
};

enum class Ending { guest_ended, failed, not_traceable };

// Turns this process into QEMU with these arguments, traced on KVM; another process, of its own session, supervises it.
// For `oboro-qemu`. Of options.machine only vm, hooks and qemu count. Returns only if it could not be done.
Error become_qemu(const Options& options, const std::vector<std::string>& arguments);

// Blocks until the guest has ended. Messages for the user go to standard error as they arise.
Result<Ending> run(const Options& options);

}  // namespace oboro::supervisor
