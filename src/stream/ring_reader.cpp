#include "stream/ring_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>

#include "stream/crc32c.h"
#include "stream/futex.h"

namespace oboro::stream {
namespace {

using namespace format;

constexpr size_t kChunk = 256 * 1024;  // that is read at once, unless a record is longer
// A look at the writer, or at what another reader has taken, may be of a moment that is over.
constexpr int kAttempts = 8;
// After a wake-up without a record, of which an honest writer makes none.
constexpr int kForNothingMs = 10;

void sleep_ms(int time) {
  const timespec duration{time / 1000, (time % 1000) * 1'000'000L};
  ::nanosleep(&duration, nullptr);
}

Result<UniqueFd> make_file(const std::string& path, size_t size, const Start& start) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io_error(path);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return io_error(path);
  int error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(size));
  if (error == 0 && ::pwrite(fd.get(), &start, sizeof start, 0) != sizeof start) error = errno;
  if (error == 0) return fd;
  ::unlink(path.c_str());
  return io_error(path + ": allocating " + std::to_string(size) + " bytes", error);
}

Start make_start(const char* magic) {
  Start start{};
  std::memcpy(start.magic, magic, sizeof start.magic);
  start.version = kVersion;
  start.page = kPage;
  return start;
}

}  // namespace

Result<RingReader> RingReader::create(const std::string& path, size_t capacity) {
  if (!std::has_single_bit(capacity) || capacity < kMinCapacity || capacity > kMaxCapacity)
    return Error{Errc::invalid, path + ": ring capacity " + std::to_string(capacity) +
                                    " is not a power of two between 4 KiB and 1 GiB"};
  Start ring_start = make_start(kRingMagic), read_start = make_start(kReadMagic);
  if (::getrandom(&ring_start.id, sizeof ring_start.id, 0) != sizeof ring_start.id) return io_error("getrandom");
  read_start.id = ring_start.id;
  // A ring is there only with its reader's file: the old one goes first, and the new one comes last.
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io_error(path);
  const std::string unfinished = path + ".new";
  auto read = make_file(read_path(path), kPage, read_start);
  if (!read) return read.error();
  auto ring = make_file(unfinished, kPage + capacity, ring_start);
  if (!ring) return ring.error();
  if (::rename(unfinished.c_str(), path.c_str()) != 0) return io_error(path);
  RingReader reader(std::move(*ring), std::move(*read), capacity);
  if (auto done = reader.become_reader(); !done) return done.error();
  return reader;
}

Result<RingReader> RingReader::open(const std::string& path) { return attach(path, false); }
Result<RingReader> RingReader::look(const std::string& path) { return attach(path, true); }

Result<RingReader> RingReader::attach(const std::string& path, bool onlooker) {
  UniqueFd ring(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!ring) return io_error(path);
  const auto size = size_of_regular(ring.get());
  if (!size) return Error{size.error().code, path + ": " + size.error().message};
  RingReader reader(std::move(ring), UniqueFd(), *size - std::min(*size, kPage));
  const std::string of_reader = read_path(path);
  reader.read_.reset(::open(of_reader.c_str(), (onlooker ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  const int error = errno;
  auto done = reader.check();
  if (done && !reader.read_) done = Error{Errc::invalid, of_reader + ": " + std::strerror(error)};
  if (done && !onlooker) done = reader.become_reader();
  if (!done) return Error{done.error().code, path + ": " + done.error().message};
  return reader;
}

// Whether the two files are those of a ring, and where its reader stands.
Result<void> RingReader::check() {
  if (capacity_ < kMinCapacity || capacity_ > kMaxCapacity || !std::has_single_bit(capacity_))
    return Error{Errc::invalid, "has a wrong size (" + std::to_string(capacity_ + kPage) + " bytes)"};
  Start start{}, of_reader{};
  if (!read(&start, sizeof start, 0) || std::memcmp(start.magic, kRingMagic, sizeof kRingMagic) != 0)
    return Error{Errc::invalid, "is not a ring (wrong magic)"};
  if (start.version != kVersion || start.page != kPage)
    return Error{Errc::unsupported,
                 "has version " + std::to_string(start.version) + ", this is " + std::to_string(kVersion)};
  if (!read_) return {};
  if (::pread(read_.get(), &of_reader, sizeof of_reader, 0) != sizeof of_reader ||
      std::memcmp(of_reader.magic, kReadMagic, sizeof kReadMagic) != 0 || of_reader.version != kVersion ||
      ::pread(read_.get(), &position_, sizeof position_, offsetof(ReaderPage, position)) != sizeof position_ ||
      position_ % 8 != 0)
    return Error{Errc::invalid, "the file of its reader is damaged"};
  if (of_reader.id != start.id) return Error{Errc::invalid, "the file of its reader is another ring's"};
  written_ = taken_ = position_;
  return {};
}

Result<void> RingReader::become_reader() {
  const auto size = size_of_regular(read_.get());
  if (!size) return size.error();
  if (*size != kPage) return Error{Errc::invalid, "the file of its reader has a wrong size"};
  if (::flock(read_.get(), LOCK_EX | LOCK_NB) != 0)
    return errno == EWOULDBLOCK ? Error{Errc::limit, "another process reads it already"} : io_error("lock");
  auto own = map_shared(read_.get(), kPage, true);
  if (!own) return own.error();
  auto futex = map_shared(ring_.get(), kPage, false);
  if (!futex) return futex.error();
  own_ = std::move(*own);
  futex_ = std::move(*futex);
  return {};
}

// False, and damage() says why, if not all of it is there.
bool RingReader::read(void* to, size_t size, uint64_t offset) {
  for (size_t done = 0; done < size;) {
    const ssize_t count =
        ::pread(ring_.get(), static_cast<std::byte*>(to) + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return damaged(std::strerror(errno));
    if (count == 0) return damaged("its file was cut short, to " + std::to_string(offset + done) + " bytes or less");
    done += static_cast<size_t>(count);
  }
  return true;
}

bool RingReader::damaged(std::string why) {
  damage_ = std::move(why);
  return false;
}

// A copy of 8 bytes by the host's kernel need not be one load, as the writer's store is one store. A position is taken
// if a look afterwards finds the writer there or further on: all up to it is written then.
bool RingReader::look_at_writer() {
  struct {
    uint64_t position;
    uint32_t wakes, unused;
  } seen{}, later{};
  constexpr uint64_t kAt = offsetof(WriterPage, position);
  static_assert(offsetof(WriterPage, wakes) == kAt + 8);
  if (!read(&later, sizeof later, kAt)) return false;
  for (int i = 0; i < kAttempts; ++i) {
    seen = later;
    if (!read(&later, sizeof later, kAt)) return false;
    if (later.position - seen.position <= capacity_) break;
  }
  written_ = seen.position;
  wakes_ = seen.wakes;
  return true;
}

RingReader::Next RingReader::next(std::span<const std::byte>& record) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (written_ == position_ || attempt > 0) {
      buffer_.clear();
      // The reader may have taken meanwhile what is looked at here. (Only what is new: position_ may be anything that
      // the writer said.)
      uint64_t taken = 0;
      if (!own_ && ::pread(read_.get(), &taken, sizeof taken, offsetof(ReaderPage, position)) == sizeof taken &&
          taken != std::exchange(taken_, taken) && static_cast<int64_t>(taken - position_) > 0)
        position_ = taken;
      if (!look_at_writer()) {
        written_ = position_;
        return std::exchange(unreadable_, true) ? Next::nothing : Next::damaged;
      }
      unreadable_ = false;
    }
    if (written_ == position_) return Next::nothing;
    if (copy_record(record)) return Next::record;
  }
  position_ = written_;
  return Next::damaged;
}

// The bytes there, copied; at most what is written, and not beyond the end of the data. Null: they cannot be read.
const std::byte* RingReader::bytes(uint64_t position, size_t size) {
  const uint64_t at = position - buffer_at_;
  if (at <= buffer_.size() && size <= buffer_.size() - at) return buffer_.data() + at;
  const uint64_t offset = position & (capacity_ - 1);
  buffer_.resize(std::min({written_ - position, capacity_ - offset, uint64_t{std::max(size, kChunk)}}));
  buffer_at_ = position;
  if (read(buffer_.data(), buffer_.size(), kPage + offset)) return buffer_.data();
  buffer_.clear();
  return nullptr;
}

// False, and damage() says why, if no whole record is there.
bool RingReader::copy_record(std::span<const std::byte>& record) {
  uint64_t at = position_;
  if (written_ - at > capacity_ || (written_ - at) % 8 != 0)
    return damaged("the writer's position makes no sense (" + std::to_string(written_) + ", read up to " +
                   std::to_string(at) + ")");
  for (bool wrapped = false;; wrapped = true) {
    const uint64_t available = written_ - at, tail = capacity_ - (at & (capacity_ - 1));
    RecordHeader header{};
    if (available < sizeof header || tail < sizeof header) return damaged("a record is not whole");
    const std::byte* from = bytes(at, sizeof header);
    if (from == nullptr) return false;
    std::memcpy(&header, from, sizeof header);
    if (header.length == kWrap) {
      if (wrapped || available < tail) return damaged("a record is not whole");
      at += tail;
      continue;
    }
    const uint64_t need = sizeof header + padded(header.length);
    if (header.length > max_record(capacity_) || need > available || need > tail)
      return damaged("a record's length makes no sense (" + std::to_string(header.length) + ")");
    from = bytes(at, need);
    if (from == nullptr) return false;
    record = {from + sizeof header, header.length};
    if (crc32c(record) != header.crc) return damaged("a record's checksum is wrong");
    position_ = at + need;
    return true;
  }
}

void RingReader::take() {
  if (own().position.load(std::memory_order_relaxed) == position_) return;
  own().position.store(position_);
  own().takes.fetch_add(1);
  futex_wake(own().takes);
}

void RingReader::wait_for_record(int timeout_ms) {
  if (written_ != position_) return;
  own().sleeps.fetch_add(1);
  if (!look_at_writer()) {
    written_ = position_;
    if (!unreadable_)
      timeout_ms = 0;  // next() tells of it
    else
      sleep_ms(timeout_ms);
  } else if (written_ == position_) {
    const auto& wakes = static_cast<const WriterPage*>(futex_.get())->wakes;  // its address
    const int error = futex_wait(wakes, wakes_, timeout_ms);
    // A writer that cannot be waited for, or that wakes us without need, must not keep us busy.
    if (error == EFAULT) sleep_ms(timeout_ms);
    if (error == 0 || error == EAGAIN)
      if (look_at_writer() && written_ == position_) sleep_ms(std::min(timeout_ms, kForNothingMs));
  }
  own().sleeps.fetch_add(1);
}

const RingCounters& RingReader::counters() {
  uint64_t values[sizeof(RingCounters) / sizeof(uint64_t)] = {};
  const std::string before = damage_;
  if (!read(values, sizeof values, offsetof(WriterPage, counters))) std::memset(values, 0, sizeof values);
  damage_ = before;
  static_assert(sizeof(RingCounters) == sizeof values);
  std::memcpy(static_cast<void*>(counters_.get()), values, sizeof values);
  return *counters_;
}

}  // namespace oboro::stream
