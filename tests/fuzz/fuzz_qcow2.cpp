// Headers of qcow2 images, which a guest can write. What QEMU would open another file for is never overlooked.
#include <cstdlib>
#include <string_view>

#include "disk/qcow2.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oboro::disk;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto header = parse_qcow2(bytes);
  if (!header) return 0;
  const bool offset = bytes.substr(8, 8).find_first_not_of('\0') != bytes.npos;
  const bool data_bit = bytes[7] == 3 && (bytes[79] & 4) != 0;
  if (header->backing.has_value() != offset || header->data.has_value() != data_bit) std::abort();
  if (header->backing && bytes.find(*header->backing) == bytes.npos) std::abort();
  return 0;
}
