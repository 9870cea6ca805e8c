// What the header of a qcow2 image says about other files. Source: QEMU's docs/interop/qcow2.rst. The bytes are
// hostile: they may have been written by a guest that had the disk as a raw one.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace oboro::disk {

// The header, its extensions and the backing file's name are in the first cluster. QEMU allows clusters of this size.
inline constexpr size_t kMaxQcow2Header = size_t{2} << 20;

struct Qcow2Header {
  std::optional<std::string> backing;  // a name as QEMU takes it: a path, "json:{...}", "nbd:...", any bytes
  std::string backing_format;          // empty: not said
  std::optional<std::string> data;     // external data file; empty: there is one, and its name is not given
};

// Whether QEMU takes a file with this beginning for a qcow or qcow2 image.
bool looks_like_qcow2(std::string_view start);

// start: the file's first kMaxQcow2Header bytes, or all of it. Errors: invalid (what is wrong with the header),
// unsupported (a version other than 2 and 3).
Result<Qcow2Header> parse_qcow2(std::string_view start);

}  // namespace oboro::disk
