// Structure layouts out of a BTF blob: every entry of schema.def is asked for.
#include <cstdlib>
#include <string_view>
#include <vector>

#include "guest/profile/btf.h"
#include "guest/profile/schema.h"

using oboro::guest::Btf;
using oboro::guest::kFieldSchema;
using oboro::guest::SchemaEntry;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string_view> structures;
  for (const SchemaEntry& entry : kFieldSchema)
    for (std::string_view path : entry.alternatives) structures.push_back(path.substr(0, path.find('.')));
  const auto types = Btf::load({reinterpret_cast<const std::byte*>(data), size}, structures);
  if (!types) return 0;
  for (const SchemaEntry& entry : kFieldSchema)
    for (std::string_view path : entry.alternatives) {
      const auto value = types->value_of(entry.measure, path);
      if (value && *value > 1 << 20) abort();  // what Profile::parse would refuse
    }
  return 0;
}
