// `status.json` in the state directory: the run's state. `oboro run` writes it at every change, and everybody else
// reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace oboro::store {

struct Status {
  std::string engine;  // "tcg"
  std::string qemu;    // version
  std::string vm;
  uint64_t pid = 0;  // of `oboro run`
  uint64_t qemu_pid = 0;
  std::string landlock;  // what QEMU may not do to processes outside its walls (supervisor/launch/walls.h)
  bool gate = false;     // QEMU makes no machine past its tracer (supervisor/launch/gate.h)
  std::string state;     // "starting", "booting", "tracing", "ended", "failed"
  std::string paused;    // why the machine stands still; empty: it does not
  std::string kernel_release;
  std::string build_id;
  uint64_t hooks_armed = 0;
  bool profile_cached = false;  // the kernel profile was known from an earlier run
  double arm_ms = 0;            // from finding the kernel to tracing
  uint64_t started = 0;         // CLOCK_REALTIME, ns
  uint64_t ended = 0;           // 0: it goes on
  std::optional<int> exit;      // exit code of QEMU
  std::string error;            // why it failed
};

Result<void> write_status(const std::string& state_directory, const Status& status);
// Errors: not_found (there was no run yet), invalid, io.
Result<Status> read_status(const std::string& state_directory);

}  // namespace oboro::store
