// A checkpoint that somebody else wrote, with the right checksum: what is taken is read back from what is written of
// it, and a History goes on from it with the same files, IDs and labels.
#include <cstdlib>
#include <fmt/format.h>
#include <span>
#include <string>

#include "stream/crc32c.h"
#include "supervisor/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oboro;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  (void)supervisor::Checkpoint::parse(body, "fuzz");  // its head, too
  const auto sum = stream::crc32c(std::as_bytes(std::span(body)));
  const auto parsed =
      supervisor::Checkpoint::parse(fmt::format("oboro-checkpoint 1 {:08x}\n", sum) + std::string(body), "fuzz");
  if (!parsed) return 0;
  const auto again = supervisor::Checkpoint::parse(parsed->format(), "fuzz");
  if (!again || *again != *parsed) std::abort();
  history::History state(parsed->state);
  const history::Lasting kept = state.lasting();
  if (kept.next_id != parsed->state.next_id || kept.boot != parsed->state.boot) std::abort();
  if (kept.files.size() != parsed->state.files.size()) std::abort();
  for (size_t i = 0; i < kept.files.size(); ++i) {
    const history::PersistentFile &is = kept.files[i], &was = parsed->state.files[i];
    if (is.id != was.id || is.labels != was.labels || is.inode != was.inode || is.fs != was.fs) std::abort();
  }
  return 0;
}
