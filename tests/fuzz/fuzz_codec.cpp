// Event records as a QEMU that was broken out into could write them; what decodes must encode to the same bytes.
#include <cstdlib>

#include "event/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oboro::event;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto event = decode(bytes);
  if (!event) return 0;
  std::vector<std::byte> again;
  encode(*event, again);
  if (again.size() != size || !std::equal(again.begin(), again.end(), bytes.begin())) std::abort();
  return 0;
}
