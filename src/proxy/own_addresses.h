// The addresses by which this host can be reached: those that no hidden service may talk to.
#pragma once

#include <cstddef>
#include <vector>

#include "base/result.h"

namespace oboro::proxy {

// 4 or 16 bytes each. Also those that mean this host among others: a broadcast is heard here as well. Errors: io.
Result<std::vector<std::vector<std::byte>>> own_addresses();

}  // namespace oboro::proxy
