// The last message of a VMM on standard error, before the guest is held or ended. The VMM must not wait for a reader of
// that: the guest would run meanwhile.
#pragma once

#include <poll.h>
#include <string>
#include <string_view>
#include <unistd.h>

namespace oboro::tracer {

inline constexpr int kNotTraced = 3;  // exit status of a VMM whose guest may not run untraced

inline void say_at_once(std::string_view message) {
  const std::string line = "oboro: " + std::string(message) + "\n";
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  if (poll(&ready, 1, 0) == 1 && ready.revents & POLLOUT) (void)!write(STDERR_FILENO, line.data(), line.size());
}

[[noreturn]] inline void lost_before_armed() {
  say_at_once("the supervisor is gone before this guest is traced: the machine ends, so that it does not run untraced");
  _exit(kNotTraced);
}

}  // namespace oboro::tracer
