// The parts of this installation: they are beside the executable that asks.
#pragma once

#include <string>

#include "base/result.h"
#include "supervisor/launch/machine.h"

namespace oboro::cli {

struct Installation {
  supervisor::Parts parts;
  std::string builder;  // oboro-profile
  std::string proxy;    // oboro-proxy
};

// Error: not_found (says which part).
Result<Installation> find_installation();

}  // namespace oboro::cli
