// What a proxy's machine starts from: a kernel of the host's, and an initial RAM disk that holds oboro-proxy, the
// kernel modules that it takes, and what proxy/init.h says.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::supervisor {

// Of a kernel image (Documentation/arch/x86/boot.rst: header.kernel_version). Errors: invalid, io.
Result<std::string> kernel_release(const std::string& image);

// Paths of the files of these modules and of all that they need, in the order in which they have to be loaded.
// directory: /lib/modules/RELEASE. What is built into the kernel has none. Errors: not_found (one of `wanted` is in
// neither).
Result<std::vector<std::string>> modules_in_order(const std::string& directory, const std::vector<std::string>& wanted,
                                                  const std::vector<std::string>& welcome);

// Text files, as path and content; a memory file. Errors: io.
Result<UniqueFd> initial_ram_disk(const std::string& program, const std::vector<std::string>& modules,
                                  const std::vector<std::pair<std::string, std::string>>& texts);

}  // namespace oboro::supervisor
