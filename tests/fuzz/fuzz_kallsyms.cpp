// Symbols out of an image: whatever the image says, every read stays inside it and every address in the kernel's range.
#include <cstdlib>

#include "guest/profile/build.h"
#include "guest/profile/kallsyms.h"

using oboro::Gva;
using oboro::guest::Kallsyms;
using oboro::guest::SymbolValue;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr Gva kBase(0xffffffff9e400000);  // of the seeds: relative_base must be in the image
  const std::span image(reinterpret_cast<const std::byte*>(data), size);
  (void)oboro::guest::kernel_build_id(image);
  const auto kallsyms = Kallsyms::find(image, kBase);
  if (!kallsyms) return 0;
  constexpr Kallsyms::Wanted kWanted[] = {{"_stext"}, {"do_splice"}, {"do_mq_timedsend", true}, {"filler_1"}};
  for (const Kallsyms::Found& found : kallsyms->lookup(kWanted))
    if (found.value.kind != SymbolValue::Kind::missing && found.value.value >= 1 << 30) abort();
  return 0;
}
