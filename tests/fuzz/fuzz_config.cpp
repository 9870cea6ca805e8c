// Configuration files. Whatever is taken must be usable: its patterns parse.
#include <cstdlib>

#include "config/config.h"
#include "labels/pattern.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oboro;
  const auto config = config::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!config) return 0;
  for (const auto& rule : config->classify)
    if (!labels::Pattern::parse(rule.pattern) || rule.label.empty()) std::abort();
  return 0;
}
