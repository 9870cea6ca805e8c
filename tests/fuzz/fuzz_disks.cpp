// The formats that a state directory remembers. What is taken is the same after it was written and read again.
#include <cstdlib>
#include <string_view>

#include "disk/formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using oboro::disk::Formats;
  const auto formats = Formats::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!formats) return 0;
  const std::string text = formats->format();
  const auto again = Formats::parse(text, "again");
  if (!again || again->size() != formats->size() || again->format() != text) std::abort();
  return 0;
}
