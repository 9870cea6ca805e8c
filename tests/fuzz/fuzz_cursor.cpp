// A stored cursor: what is taken is exactly what would be written.
#include <cstdlib>
#include <string_view>

#include "stream/cursor.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using oboro::stream::Cursor;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto cursor = Cursor::parse(text);
  if (!cursor) return 0;
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (cursor->text() != text) std::abort();
  if (const auto again = Cursor::parse(cursor->text()); !again || *again != *cursor) std::abort();
  return 0;
}
