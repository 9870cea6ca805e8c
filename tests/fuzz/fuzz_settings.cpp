// Settings::parse: no crash, and what it takes is what format() gives back.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "link/settings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using oboro::link::Settings;
  const auto parsed = Settings::parse({reinterpret_cast<const char*>(data), size});
  if (!parsed) return 0;
  const std::string text = parsed->format();
  const auto again = Settings::parse(text);
  if (!again || again->format() != text) abort();
  return 0;
}
