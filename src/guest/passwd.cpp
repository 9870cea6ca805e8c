#include "guest/passwd.h"

#include <algorithm>

#include "base/number.h"
#include "base/utf8.h"

namespace oboro::guest {
namespace {

constexpr ptrdiff_t kColons = 6;  // name:password:uid:gid:comment:home:shell, and the shell is the rest of the line

bool is_name(std::string_view text) {
  // A name that begins with + or - is a rule of NIS.
  if (text.empty() || text.size() > kMaxUserName || text.front() == '+' || text.front() == '-') return false;
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (step.length == 0 || step.code_point == ' ' || is_deceptive(step.code_point)) return false;
    text.remove_prefix(step.length);
  }
  return true;
}

// Takes the field before the next colon, and the colon. False if there is no colon.
bool take_field(std::string_view& line, std::string_view& field) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return false;
  field = line.substr(0, colon);
  line.remove_prefix(colon + 1);
  return true;
}

}  // namespace

UserNames parse_passwd(std::string_view text) {
  UserNames names;
  for (size_t lines = 0; !text.empty() && lines < kMaxPasswdLines; ++lines) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with('#')) continue;
    const bool complete = std::count(line.begin(), line.end(), ':') >= kColons;
    std::string_view name, password, number;
    uint32_t uid = 0;
    if (!take_field(line, name) || !take_field(line, password) || !take_field(line, number)) continue;
    if (!parse_number(number, uid)) continue;
    names.try_emplace(uid, complete && is_name(name) ? name : std::string_view());
  }
  return names;
}

}  // namespace oboro::guest
