// Small whole files of the state directory: read with a bound; written so that a crash leaves the old file or the new
// one.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace oboro::store {

// Errors: not_found, limit (larger than bound), io.
Result<std::string> read_file(const std::string& path, size_t bound);
// Mode 0600. The file is written beside its place, fdatasync'ed and renamed.
Result<void> write_file_atomically(const std::string& path, std::string_view content);
// Errors: invalid (`where`, and what is wrong at which position). The depth is bounded.
Result<nlohmann::json> parse_json(std::string_view text, const std::string& where);

}  // namespace oboro::store
