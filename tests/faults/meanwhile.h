// What happens to the processes of a run at one event of its guest.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace oboro::faults {

// FAULTS_GUEST="DIRECTORY LAST AT WHEN WHAT": steps up to LAST; at event AT of this run (0: none), WHEN it is on its
// way or in the ring (`before`, `after`), WHAT happens:
//   kill, term, hup      SIGKILL, SIGTERM, SIGHUP to the supervisor
//   kill-guest           SIGKILL to this process
//   kill-proxy           SIGKILL to each proxy
//   second               DIRECTORY/second is executed, and waited for
//   orphan               SIGKILL to the supervisor, which the guest outlives (oboro-qemu); then as `second`
// The supervisor is whom DIRECTORY/../state/guest/status.json names.
struct Plan {
  std::string directory;
  uint64_t last = 0, at = 0;
  bool after = false;
  std::string what;
};

// Ends the process if it is not in form.
Plan plan_of(const char* text);
// `meanwhile` is called while something is waited for; `is_orphan`: whether the supervisor is gone. DIRECTORY/fired is
// there before it happens.
void happen(const Plan& plan, const std::function<void()>& meanwhile, const std::function<bool()>& is_orphan);

[[noreturn]] void fail(const std::string& what);

}  // namespace oboro::faults
