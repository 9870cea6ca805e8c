// Messages that the user should read now, on standard error.
#pragma once

#include <cstdio>
#include <fmt/format.h>
#include <string_view>

namespace oboro::supervisor {

inline void say(std::string_view message) { fmt::print(stderr, "oboro: {}\n", message); }

}  // namespace oboro::supervisor
