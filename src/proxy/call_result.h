// The result of a call of the host's kernel, as answers carry it: a value, or an errno below zero.
#pragma once

#include <cerrno>
#include <cstdint>

namespace oboro::proxy {

inline int64_t failed() { return -errno; }
inline int64_t result(long value) { return value < 0 ? failed() : value; }

}  // namespace oboro::proxy
