// The text of a profile: what is accepted is exactly what format() writes.
#include <cstdlib>
#include <string_view>

#include "guest/profile/profile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto profile = oboro::guest::Profile::parse(text);
  if (profile && profile->format() != text) abort();
  return 0;
}
