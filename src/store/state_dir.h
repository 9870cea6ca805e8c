// The state directory: everything that Oboro knows about one guest. docs/formats.md lists its files.
#pragma once

#include <string>

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
// process, however that ends.
class StateLock {
 public:
  // Error: limit (another run has the lock; says its PID).
  static Result<StateLock> take(const std::string& state_directory);
  // Whether an `oboro run` has the lock now.
  static bool is_taken(const std::string& state_directory);

 private:
  explicit StateLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace oboro::store
