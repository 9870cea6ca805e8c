// A pattern, a newline, a path. A match of a path is a match of everything below it.
#include <cstdlib>
#include <string>

#include "labels/pattern.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oboro;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t split = text.find('\n');
  (void)labels::parse_classification(text.substr(0, split));
  const auto pattern = labels::Pattern::parse(text.substr(0, split));
  if (!pattern || split == text.npos) return 0;
  const std::string path(text.substr(split + 1));
  if (pattern->match(path) && !pattern->match(path + "/below")) std::abort();
  return 0;
}
