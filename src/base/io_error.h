// An Error for what the host's kernel refused.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "base/result.h"

namespace oboro {

// "WHAT: reason". Error: not_found for ENOENT, io for any other.
inline Error io_error(std::string_view what, int error = errno) {
  return {error == ENOENT ? Errc::not_found : Errc::io, std::string(what) + ": " + std::strerror(error)};
}

}  // namespace oboro
