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

// The first line of a number counts, as for getpwuid(). A number has an empty name if its line has no name that is fit
// to be shown: one longer than kMaxUserName, not UTF-8, with blanks or controls, or of an incomplete line. Lines behind
// the first kMaxPasswdLines do not count. Nor does a number that no colon follows: a part of it may be missing.
UserNames parse_passwd(std::string_view text);

}  // namespace oboro::guest
