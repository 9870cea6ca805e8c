// The addresses by which this host can be reached: those that no hidden service may talk to.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"

namespace oboro::proxy {

// 4 or 16 bytes each. Also those that mean this host among others: a broadcast is heard here as well. Errors: io.
Result<std::vector<std::vector<std::byte>>> own_addresses();

// Whether an address (4 or 16 bytes) is one of this host's at this moment, by the kernel's word: addresses come and go
// (DHCP, VPNs, bridges). True, too, if the kernel cannot be asked. Sends nothing. Makes no system call but those that a
// proxy may still make when it is locked in.
bool is_own_address(std::span<const std::byte> address);

}  // namespace oboro::proxy
