#include "stream/ring_writer.h"

#include <bit>
#include <cstring>
#include <ctime>
#include <fcntl.h>

#include "base/io_error.h"
#include "stream/crc32c.h"
#include "stream/futex.h"
#include "stream/mapping.h"

namespace oboro::stream {
namespace {

int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

Result<RingWriter::Files> RingWriter::files(const std::string& path) {
  Files files{UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)), UniqueFd()};
  if (!files.ring) return io_error(path);
  files.read.reset(::open(read_path(path).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!files.read) return io_error(read_path(path));
  return files;
}

Result<RingWriter> RingWriter::open(const std::string& path) {
  auto opened = files(path);
  if (!opened) return opened.error();
  auto writer = attach(std::move(*opened));
  if (!writer) return Error{writer.error().code, path + ": " + writer.error().message};
  return writer;
}

Result<RingWriter> RingWriter::attach(Files files) {
  using namespace format;
  const auto size = size_of_regular(files.ring.get());
  if (!size) return size.error();
  const auto read_size = size_of_regular(files.read.get());
  if (!read_size) return read_size.error();
  if (*size < kPage + kMinCapacity || *size > kPage + kMaxCapacity || !std::has_single_bit(*size - kPage) ||
      *read_size != kPage)
    return Error{Errc::invalid, "ring has a wrong size (" + std::to_string(*size) + " bytes, and " +
                                    std::to_string(*read_size) + " of its reader)"};
  auto ring = map_shared(files.ring.get(), *size, true);
  if (!ring) return ring.error();
  auto read = map_shared(files.read.get(), kPage, false);
  if (!read) return read.error();
  const auto* own = static_cast<const WriterPage*>(ring->get());
  const auto* reader = static_cast<const ReaderPage*>(read->get());
  if (std::memcmp(own->start.magic, kRingMagic, sizeof kRingMagic) != 0 ||
      std::memcmp(reader->start.magic, kReadMagic, sizeof kReadMagic) != 0)
    return Error{Errc::invalid, "not a ring (wrong magic)"};
  if (own->start.version != kVersion || own->start.page != kPage)
    return Error{Errc::unsupported,
                 "ring has version " + std::to_string(own->start.version) + ", this is " + std::to_string(kVersion)};
  if (own->start.id != reader->start.id) return Error{Errc::invalid, "the files are of two rings"};
  const size_t capacity = *size - kPage;
  const uint64_t written = own->position.load(), taken = reader->position.load();
  if (written - taken > capacity || written % 8 != 0 || taken % 8 != 0)
    return Error{Errc::invalid, "ring positions make no sense (written " + std::to_string(written) + ", read " +
                                    std::to_string(taken) + ")"};
  return RingWriter(std::move(*ring), std::move(*read), capacity);
}

bool RingWriter::push(std::span<const std::byte> record, Part part) {
  using namespace format;
  if (record.size() > max_record(part)) return false;
  const uint64_t start = own().position.load(std::memory_order_relaxed);
  const uint64_t used = start - reader().position.load();
  const uint64_t need = sizeof(RecordHeader) + padded(record.size());
  const uint64_t offset = start & (capacity_ - 1);
  const uint64_t tail = capacity_ - offset;
  const uint64_t skip = tail < need ? tail : 0;
  if (used > capacity_ || used + skip + need > size(part)) return false;

  std::byte* const data = reinterpret_cast<std::byte*>(ring_.get()) + kPage;
  if (skip != 0) {
    const RecordHeader wrap{kWrap, 0};
    std::memcpy(data + offset, &wrap, sizeof wrap);
  }
  std::byte* to = data + (skip != 0 ? 0 : offset);
  const RecordHeader header{static_cast<uint32_t>(record.size()), crc32c(record)};
  std::memcpy(to, &header, sizeof header);
  if (!record.empty()) std::memcpy(to + sizeof header, record.data(), record.size());
  own().position.store(start + skip + need);
  // Each sleep is ended once: the reader needs a moment until it says that it is awake, and no record in between makes
  // a system call.
  const uint32_t sleeps = reader().sleeps.load();
  if (sleeps % 2 != 0 && sleeps != woken_) {
    woken_ = sleeps;
    own().wakes.fetch_add(1);
    futex_wake(own().wakes);
  }
  return true;
}

bool RingWriter::wait_for_room(size_t bytes, int timeout_ms, Part part) {
  using namespace format;
  if (bytes > max_record(part)) return false;
  const int64_t deadline = now_ms() + timeout_ms;
  const uint64_t written = own().position.load(std::memory_order_relaxed);
  const uint64_t need = sizeof(RecordHeader) + padded(bytes);
  const uint64_t tail = capacity_ - (written & (capacity_ - 1));
  const uint64_t wanted = need + (tail < need ? tail : 0);
  for (;;) {
    const uint32_t takes = reader().takes.load();
    if (written - reader().position.load() + wanted <= size(part)) return true;
    const int64_t left = deadline - now_ms();
    if (left <= 0) return false;
    futex_wait(reader().takes, takes, static_cast<int>(left));
  }
}

}  // namespace oboro::stream
