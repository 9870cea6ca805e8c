#include "stream/ring.h"

#include <bit>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <limits>
#include <linux/futex.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/io_error.h"
#include "stream/crc32c.h"

namespace oboro::stream {

struct Ring::Header {
  char magic[8];
  uint32_t version;
  uint32_t header_size;
  alignas(64) std::atomic<uint64_t> write_position;
  // The sleeping flags are futex words. A side that goes to sleep sets its flag, and then looks at the other side's
  // position again. A side that moves its position stores it, and then looks at the other side's flag. All four are
  // sequentially consistent: at least one of the two sides sees the other (Dekker). So no wake-up is lost, and none is
  // sent without need.
  std::atomic<uint32_t> producer_sleeps;
  alignas(64) std::atomic<uint64_t> read_position;
  std::atomic<uint32_t> consumer_sleeps;
  alignas(64) RingCounters counters;
};

namespace {

constexpr size_t kHeaderSize = 4096;
constexpr size_t kMinCapacity = 4096;
constexpr size_t kMaxCapacity = size_t{1} << 30;
constexpr char kMagic[8] = {'O', 'B', 'O', 'R', 'O', 'R', 'N', 'G'};
constexpr uint32_t kRingVersion = 1;
constexpr uint32_t kWrap = 0xffffffff;

struct RecordHeader {
  uint32_t length;
  uint32_t crc;
};
static_assert(sizeof(RecordHeader) == 8);

constexpr uint64_t padded(uint64_t length) { return (length + 7) & ~uint64_t{7}; }

// Processes share the mapping, so these are not the _PRIVATE operations.
void futex_wait(std::atomic<uint32_t>& word, uint32_t expected, int timeout_ms) {
  timespec timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1'000'000L};
  ::syscall(SYS_futex, &word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
}
void futex_wake(std::atomic<uint32_t>& word) { ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

void wake_if_sleeping(std::atomic<uint32_t>& sleeps) {
  if (sleeps.load() == 0) return;
  sleeps.store(0);
  futex_wake(sleeps);
}

int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

Ring::Ring(UniqueFd fd, void* base, size_t mapped)
    : fd_(std::move(fd)),
      header_(static_cast<Header*>(base)),
      data_(static_cast<std::byte*>(base) + kHeaderSize),
      mapped_(mapped) {
  static_assert(sizeof(Header) <= kHeaderSize);
  static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);
}

Ring::Ring(Ring&& other) noexcept
    : fd_(std::move(other.fd_)),
      header_(std::exchange(other.header_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      mapped_(std::exchange(other.mapped_, 0)) {}

Ring& Ring::operator=(Ring&& other) noexcept {
  if (this == &other) return *this;
  if (header_ != nullptr) ::munmap(header_, mapped_);
  fd_ = std::move(other.fd_);
  header_ = std::exchange(other.header_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  mapped_ = std::exchange(other.mapped_, 0);
  return *this;
}

Ring::~Ring() {
  if (header_ != nullptr) ::munmap(header_, mapped_);
}

Result<Ring> Ring::create(const std::string& path, size_t capacity) {
  if (!std::has_single_bit(capacity) || capacity < kMinCapacity || capacity > kMaxCapacity)
    return Error{Errc::invalid, path + ": ring capacity " + std::to_string(capacity) +
                                    " is not a power of two between 4 KiB and 1 GiB"};
  // A new inode each time: a QEMU that still has the old one open cannot touch the new one.
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io_error(path);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return io_error(path);
  if (const int error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(kHeaderSize + capacity)); error != 0) {
    ::unlink(path.c_str());
    errno = error;
    return io_error(path + ": allocating " + std::to_string(kHeaderSize + capacity) + " bytes");
  }
  void* base = ::mmap(nullptr, kHeaderSize + capacity, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) return io_error(path);
  Ring ring(std::move(fd), base, kHeaderSize + capacity);
  ring.header_->version = kRingVersion;
  ring.header_->header_size = kHeaderSize;
  std::memcpy(ring.header_->magic, kMagic, sizeof kMagic);
  return ring;
}

Result<Ring> Ring::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return io_error(path);
  auto ring = map(std::move(fd), true);
  if (!ring) return Error{ring.error().code, path + ": " + ring.error().message};
  return ring;
}

Result<Ring> Ring::open_read_only(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return io_error(path);
  auto ring = map(std::move(fd), false);
  if (!ring) return Error{ring.error().code, path + ": " + ring.error().message};
  return ring;
}

Result<Ring> Ring::attach(UniqueFd fd) { return map(std::move(fd), true); }

Result<Ring> Ring::map(UniqueFd fd, bool writable) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return io_error("ring");
  if (!S_ISREG(status.st_mode)) return Error{Errc::invalid, "ring is not a regular file"};
  const auto size = static_cast<size_t>(status.st_size);
  if (size < kHeaderSize + kMinCapacity || size > kHeaderSize + kMaxCapacity ||
      !std::has_single_bit(size - kHeaderSize))
    return Error{Errc::invalid, "ring has a wrong size (" + std::to_string(size) + " bytes)"};
  void* base = ::mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) return io_error("ring");
  Ring ring(std::move(fd), base, size);
  const Header& header = *ring.header_;
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) return Error{Errc::invalid, "not a ring (wrong magic)"};
  if (header.version != kRingVersion || header.header_size != kHeaderSize)
    return Error{Errc::unsupported,
                 "ring has version " + std::to_string(header.version) + ", this is " + std::to_string(kRingVersion)};
  const uint64_t write = header.write_position.load();
  const uint64_t read = header.read_position.load();
  // An onlooker of a live ring may load the two between a push and a pop. Only the producer and the consumer are
  // strict.
  if (writable && (write - read > ring.capacity() || write % 8 != 0 || read % 8 != 0))
    return Error{Errc::invalid, "ring positions make no sense (written " + std::to_string(write) + ", read " +
                                    std::to_string(read) + ")"};
  return ring;
}

size_t Ring::capacity() const { return mapped_ - kHeaderSize; }
size_t Ring::max_record() const { return capacity() / 2 - sizeof(RecordHeader); }

bool Ring::push(std::span<const std::byte> record) {
  if (record.size() > max_record()) return false;
  const uint64_t start = header_->write_position.load(std::memory_order_relaxed);
  const uint64_t used = start - header_->read_position.load();
  const uint64_t need = sizeof(RecordHeader) + padded(record.size());
  const uint64_t offset = start & (capacity() - 1);
  const uint64_t tail = capacity() - offset;
  const uint64_t skip = tail < need ? tail : 0;
  if (used > capacity() || capacity() - used < skip + need) return false;

  if (skip != 0) {
    const RecordHeader wrap{kWrap, 0};
    std::memcpy(data_ + offset, &wrap, sizeof wrap);
  }
  std::byte* to = data_ + (skip != 0 ? 0 : offset);
  const RecordHeader header{static_cast<uint32_t>(record.size()), crc32c(record)};
  std::memcpy(to, &header, sizeof header);
  if (!record.empty()) std::memcpy(to + sizeof header, record.data(), record.size());
  header_->write_position.store(start + skip + need);
  wake_if_sleeping(header_->consumer_sleeps);
  return true;
}

bool Ring::wait_for_room(size_t bytes, int timeout_ms) {
  if (bytes > max_record()) return false;
  const int64_t deadline = now_ms() + timeout_ms;
  const uint64_t write = header_->write_position.load(std::memory_order_relaxed);
  const uint64_t need = sizeof(RecordHeader) + padded(bytes);
  const uint64_t tail = capacity() - (write & (capacity() - 1));
  const uint64_t wanted = need + (tail < need ? tail : 0);
  const auto room = [&] { return capacity() - (write - header_->read_position.load()) >= wanted; };
  while (!room()) {
    const int64_t left = deadline - now_ms();
    if (left <= 0) return false;
    header_->producer_sleeps.store(1);
    if (!room()) futex_wait(header_->producer_sleeps, 1, static_cast<int>(left));
    header_->producer_sleeps.store(0);
  }
  return true;
}

bool Ring::peek(uint64_t& position, std::vector<std::byte>& out, bool* damaged) const {
  *damaged = false;
  // Bounded, because a hostile producer could move read_position for ever.
  for (int attempt = 0; attempt < 100; ++attempt) {
    const uint64_t read = header_->read_position.load();
    const uint64_t write = header_->write_position.load();
    if (static_cast<int64_t>(position - read) < 0) position = read;
    const auto result = copy_record(position, write, out);
    if (result == Copied::nothing) return false;
    // A record that was taken during the copy may have been overwritten in the middle: look again, at the oldest
    // record. The consumer never comes here, as only it moves read_position.
    if (static_cast<int64_t>(position - header_->read_position.load()) < 0) continue;
    if (result == Copied::damaged) {
      *damaged = true;
      position = write;
      return false;
    }
    const uint64_t need = sizeof(RecordHeader) + padded(out.size());
    const uint64_t tail = capacity() - (position & (capacity() - 1));
    position += need + (tail < need ? tail : 0);
    return true;
  }
  *damaged = true;
  position = header_->write_position.load();
  return false;
}

Ring::Copied Ring::copy_record(uint64_t position, uint64_t write, std::vector<std::byte>& out) const {
  uint64_t available = write - position;
  if (available == 0) return Copied::nothing;
  if (available > capacity()) return Copied::damaged;
  uint64_t offset = position & (capacity() - 1);
  RecordHeader header{};
  for (bool wrapped = false;; wrapped = true) {
    const uint64_t tail = capacity() - offset;
    if (tail < sizeof header || available < sizeof header) return Copied::damaged;
    std::memcpy(&header, data_ + offset, sizeof header);
    if (header.length != kWrap) break;
    if (wrapped || available < tail) return Copied::damaged;
    available -= tail;
    offset = 0;
  }
  const uint64_t need = sizeof header + padded(header.length);
  if (need > available || need > capacity() - offset) return Copied::damaged;
  out.assign(data_ + offset + sizeof header, data_ + offset + sizeof header + header.length);
  return crc32c(out) == header.crc ? Copied::record : Copied::damaged;
}

void Ring::take(uint64_t position) {
  header_->read_position.store(position);
  wake_if_sleeping(header_->producer_sleeps);
}

bool Ring::pop(std::vector<std::byte>& out, bool* damaged) {
  uint64_t position = header_->read_position.load();
  const bool got = peek(position, out, damaged);
  if (got || *damaged) take(position);
  return got;
}

void Ring::wait_for_record(int timeout_ms) {
  const auto empty = [&] { return header_->write_position.load() == header_->read_position.load(); };
  if (!empty()) return;
  header_->consumer_sleeps.store(1);
  if (empty()) futex_wait(header_->consumer_sleeps, 1, timeout_ms);
  header_->consumer_sleeps.store(0);
}

Result<void> Ring::lock_consumer() {
  if (::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0) return {};
  if (errno == EWOULDBLOCK) return Error{Errc::limit, "ring: another process reads it already"};
  return io_error("ring: lock");
}

RingCounters& Ring::counters() {
  static_assert(offsetof(Header, counters) == 192, "as docs/formats.md says");
  return header_->counters;
}
const RingCounters& Ring::counters() const { return header_->counters; }
int Ring::fd() const { return fd_.get(); }

}  // namespace oboro::stream
