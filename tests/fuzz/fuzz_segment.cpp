// A compressed segment of a journal that somebody else wrote, as the oldest one, and the journal's newest: reading
// ends, at any place, whatever is in it; and what was compressed by us is read back.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

#include "store/journal/bytes.h"
#include "store/journal/verify.h"

namespace {

using namespace oboro::store;

struct Directory {
  std::string path = "/tmp/oboro-fuzz-XXXXXX";
  Directory() {
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    std::filesystem::create_directory(segments_path(path));
  }
  ~Directory() { std::filesystem::remove_all(path); }
  void write(const std::string& name, std::string_view content) const {
    std::ofstream out(name, std::ios::binary);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Directory directory;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string plain = segment_path(directory.path, 0), compressed = compressed_path(plain);
  directory.write(compressed, text);
  directory.write(journal_path(directory.path),
                  R"({"kind":"segment","segment":{"begin":4096,"journal":"1f2e3d4c","previous":"00"}})"
                  "\n");
  const auto verified = verify(directory.path);
  if (!verified) std::abort();
  auto file = SegmentFile::open(compressed);
  std::string block;
  for (uint64_t offset = 0; file && offset < 2 * SegmentFile::kFrame; offset += 1 + size) {
    block.clear();
    if (file->read(offset, 4096, block) && block.size() > 4096) std::abort();
  }
  directory.write(plain, text);
  std::filesystem::remove(compressed);
  if (!compress_segment(plain, compressed)) std::abort();
  auto again = SegmentFile::open(compressed);
  block.clear();
  if (!again || *again->size() != size || !again->read(0, size + 1, block) || block != text) std::abort();
  std::filesystem::remove(plain);
  return 0;
}
