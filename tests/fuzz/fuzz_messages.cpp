// link::decode: no crash, and what it takes is what encode() gives back.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "link/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto envelope = oboro::link::decode(bytes);
  if (envelope && oboro::link::encode(envelope->body, envelope->request) != bytes) abort();
  return 0;
}
