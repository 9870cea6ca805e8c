// The files that a proxy's machine boots from: a kernel of the host's, and an initial RAM disk. The RAM disk holds
// oboro-proxy, the kernel modules that it needs, and the files that proxy/init.h describes.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::supervisor {

// The release of a kernel image (Documentation/arch/x86/boot.rst: header.kernel_version). Errors: invalid, io.
Result<std::string> kernel_release(const std::string& image);

// Paths of the files of these modules and of all that they need, in the order in which they have to be loaded.
// directory: /lib/modules/RELEASE. A module that is built into the kernel has no file. Errors: not_found (one of
// `wanted` is neither there nor built in).
Result<std::vector<std::string>> modules_in_order(const std::string& directory, const std::vector<std::string>& wanted,
                                                  const std::vector<std::string>& welcome);

// files: text files, as path and content. Returns a memory file. Errors: io.
Result<UniqueFd> initial_ram_disk(const std::string& program, const std::vector<std::string>& modules,
                                  const std::vector<std::pair<std::string, std::string>>& texts);

}  // namespace oboro::supervisor
