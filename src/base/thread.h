// A thread, or why there is none: the standard library ends the process where the host gives no more of them.
#pragma once

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/result.h"

namespace oboro {

// Errors: limit.
template <typename Run>
Result<std::thread> start_thread(Run&& run) {
  try {
    return std::thread(std::forward<Run>(run));
  } catch (const std::system_error& error) {
    return Error{Errc::limit, std::string("no thread can be started: ") + error.code().message()};
  }
}

}  // namespace oboro
