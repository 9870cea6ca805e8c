// Directories in a service's root, made before its proxy starts.
#pragma once

#include <string_view>

#include "base/result.h"

namespace oboro::proxy {

// Makes the directories of `path` that are not there. A link or a file of the service's may be in the way by now: it is
// left as it is, and not followed. root: a directory. Errors: io.
Result<void> make_directories(int root, std::string_view path);

}  // namespace oboro::proxy
