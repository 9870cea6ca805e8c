// Directories in a service's root, made before its proxy starts.
#pragma once

#include <string_view>

#include "base/result.h"

namespace oboro::proxy {

// Makes those of `path` that are not there. What the service has made of its root since, nobody follows: where a link
// or a file of its is in the way, that is left as it is. root: a directory. Errors: io.
Result<void> make_directories(int root, std::string_view path);

}  // namespace oboro::proxy
