// A ring whose writer is hostile: any bytes, any position, a file that is cut off, and all of it changes while the ring
// is read. The reader ends, gives no more than there can be, and is never out of its own buffer.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>

#include "event/codec.h"
#include "stream/ring_reader.h"

using namespace oboro;
using stream::RingReader;

namespace {

constexpr size_t kCapacity = 4096, kPage = stream::format::kPage;

// One for all runs: to make it takes longer than a run.
struct File {
  File() {
    char name[] = "/dev/shm/oboro-fuzz-ring-XXXXXX";
    char fallback[] = "/tmp/oboro-fuzz-ring-XXXXXX";
    const char* made = ::mkdtemp(name);
    if (made == nullptr) made = ::mkdtemp(fallback);
    if (made == nullptr) std::abort();
    path = std::string(made) + "/ring";
    if (!RingReader::create(path, kCapacity)) std::abort();
    fd = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    for (const std::string& file : {path, stream::read_path(path)}) kept.push_back(file);
  }
  ~File() {
    for (const std::string& file : kept) ::unlink(file.c_str());
    ::rmdir(path.substr(0, path.rfind('/')).c_str());
  }
  void write(const void* bytes, size_t size, size_t at) const {
    if (::pwrite(fd.get(), bytes, size, static_cast<off_t>(at)) != static_cast<ssize_t>(size)) std::abort();
  }
  // What a writer did: its position, and these bytes of records.
  void fill(const uint8_t* data, size_t size) const {
    uint64_t position = 0;
    std::memcpy(&position, data, std::min(size, sizeof position));
    write(&position, sizeof position, offsetof(stream::format::WriterPage, position));
    if (size > 8) write(data + 8, std::min(size - 8, kCapacity), kPage);
  }
  std::string path;
  UniqueFd fd;
  std::vector<std::string> kept;
};

size_t read_all(RingReader& reader) {
  std::span<const std::byte> record;
  size_t found = 0;
  for (RingReader::Next next; (next = reader.next(record)) != RingReader::Next::nothing; ++found) {
    if (found > 2 * kCapacity / 8) std::abort();  // it does not end
    if (next == RingReader::Next::damaged && reader.damage().empty()) std::abort();
    if (next == RingReader::Next::record) (void)event::decode(record);
  }
  return found;
}

}  // namespace

// The first byte: how the file is cut off. The second: where the first state ends and the second one begins, in 16
// bytes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const File file;
  if (size < 18) return 0;
  const size_t cut = data[0], first = std::min<size_t>(size - 2, 8 + 16 * size_t{data[1]});
  if (::ftruncate(file.fd.get(), kPage + kCapacity) != 0) std::abort();
  file.fill(data + 2, first);
  auto reader = RingReader::look(file.path);
  if (!reader) std::abort();
  std::span<const std::byte> record;
  (void)reader->next(record);
  if (size - 2 > first) file.fill(data + 2 + first, size - 2 - first);
  if (cut % 4 == 3 && ::ftruncate(file.fd.get(), static_cast<off_t>(cut * 32)) != 0) std::abort();
  (void)read_all(*reader);
  (void)reader->counters();
  auto again = RingReader::look(file.path);
  if (again) (void)read_all(*again);
  // The header is the same for the next run.
  if (::ftruncate(file.fd.get(), kPage + kCapacity) != 0) std::abort();
  static const stream::format::Start kStart = [] {
    stream::format::Start start{};
    if (::pread(UniqueFd(::open(stream::read_path(file.path).c_str(), O_RDONLY | O_CLOEXEC)).get(), &start,
                sizeof start, 0) != sizeof start)
      std::abort();
    std::memcpy(start.magic, stream::format::kRingMagic, sizeof start.magic);
    return start;
  }();
  file.write(&kStart, sizeof kStart, 0);
  return 0;
}
