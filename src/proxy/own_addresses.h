// The addresses by which this host can be reached. No hidden service may talk to them.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"

namespace oboro::proxy {

// 4 or 16 bytes each. Addresses that mean this host among others are included: a broadcast is heard here as well.
// Errors: io.
Result<std::vector<std::vector<std::byte>>> own_addresses();

// Whether an address (4 or 16 bytes) is one of this host's at this moment. The kernel says, because addresses come and
// go (DHCP, VPNs, bridges). True also if the kernel cannot be asked. Sends nothing. Makes only system calls that a
// locked-in proxy may make.
bool is_own_address(std::span<const std::byte> address);

}  // namespace oboro::proxy
