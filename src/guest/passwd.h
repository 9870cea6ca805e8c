// /etc/passwd: users by number. Pure logic; the text is the guest's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace oboro::guest {

inline constexpr size_t kMaxUserName = 32;  // LOGIN_NAME_MAX of the shadow tools, and utmp's
inline constexpr size_t kMaxPasswdLines = 4096;

using UserNames = std::unordered_map<uint32_t, std::string>;

// The first line of a number counts, as it does for getpwuid(). A number whose line has no name fit to be shown -
// longer than kMaxUserName, not UTF-8, with blanks or controls, or of a line that is not complete - has an empty one.
// Lines behind the first kMaxPasswdLines do not count, nor does a number that is not followed by a colon: of that the
// rest may be missing.
UserNames parse_passwd(std::string_view text);

}  // namespace oboro::guest
