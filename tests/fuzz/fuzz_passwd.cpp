// A text of /etc/passwd. Cut anywhere, it names nobody otherwise than the whole: at most it knows less.
#include <cstdint>
#include <cstdlib>

#include "base/utf8.h"
#include "guest/passwd.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oboro;
  if (size < 2) return 0;
  const size_t cut = data[0] | data[1] << 8;
  const std::string_view text(reinterpret_cast<const char*>(data + 2), size - 2);
  const guest::UserNames names = guest::parse_passwd(text);
  if (names.size() > guest::kMaxPasswdLines) std::abort();
  for (const auto& [uid, name] : names) {
    if (name.size() > guest::kMaxUserName) std::abort();
    for (std::string_view rest = name; !rest.empty();) {
      const Utf8Step step = utf8_step(rest);
      if (step.length == 0 || step.code_point <= ' ' || is_deceptive(step.code_point)) std::abort();
      rest.remove_prefix(step.length);
    }
  }
  for (const auto& [uid, name] : guest::parse_passwd(text.substr(0, cut))) {
    const auto whole = names.find(uid);
    if (whole == names.end() || (!name.empty() && name != whole->second)) std::abort();
  }
  return 0;
}
