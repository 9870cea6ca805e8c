// The state directory: everything that Oboro knows about one guest. docs/formats.md lists its files.
#pragma once

#include <string>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::store {

// $OBORO_STATE, else ${XDG_STATE_HOME:-$HOME/.local/state}/oboro/default. Error: not_found if none of them is set.
Result<std::string> default_state_directory();

// Whether it is safe to read and write in the directory: it is a directory, it is ours, and nobody else may write in
// it. Errors: not_found, invalid (what is wrong with it), io.
Result<void> check_state_directory(const std::string& path);
// Creates the directory and its parents, mode 0700, if it is not there. Then checks it.
Result<void> create_state_directory(const std::string& path);

std::string lock_path(const std::string& state_directory);

// Makes this process the only `oboro run` of the directory, for as long as the lock lives. The lock ends with the
// process, however that ends. It has a second half for the guest's QEMU, which may outlive its supervisor: its records
// go into a ring that nobody reads then, so no other run may begin meanwhile.
class StateLock {
 public:
  // Who is about to end is waited for: a supervisor whose guest has ended, or a guest whose supervisor was killed.
  // Error: limit (another run has the lock, or its guest; says its PID), io.
  static Result<StateLock> take(const std::string& state_directory);
  // Whether an `oboro run` has the lock now.
  static bool is_taken(const std::string& state_directory);
  // The guest's half, for QEMU to inherit, which can do nothing else with it. It ends with the last process that has
  // it.
  int guest_fd() const { return guest_fd_.get(); }

 private:
  StateLock(UniqueFd fd, UniqueFd guest_fd) : fd_(std::move(fd)), guest_fd_(std::move(guest_fd)) {}
  UniqueFd fd_, guest_fd_;
};

}  // namespace oboro::store
