#include "proxy/channel.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/io_error.h"

namespace oboro::proxy {

struct Channel::Ring {
  alignas(64) std::atomic<uint64_t> written;
  alignas(64) std::atomic<uint64_t> read;
  alignas(64) std::atomic<uint32_t> receiver_sleeps;
  std::atomic<uint32_t> sender_waits;
  alignas(64) std::byte data[kRingSize];
};

namespace {

constexpr size_t kAlign = 8;  // so that a frame's size never wraps
constexpr size_t padded(size_t size) { return (size + kAlign - 1) / kAlign * kAlign; }

}  // namespace

Result<ChannelFds> Channel::create() {
  ChannelFds fds;
  fds.memory = UniqueFd(memfd_create("oboro-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  fds.for_proxy = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  fds.for_tracer = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fds.memory || !fds.for_proxy || !fds.for_tracer) return io_error("channel");
  // Its pages are present from the start. Later, "no memory" would be a SIGBUS.
  if (posix_fallocate(fds.memory.get(), 0, 2 * sizeof(Ring)) != 0) return io_error("channel");
  if (fcntl(fds.memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return io_error("channel");
  return fds;
}

Result<Channel> Channel::attach(ChannelFds fds, Side side) {
  struct stat status {};
  if (fstat(fds.memory.get(), &status) != 0) return io_error("channel");
  const int seals = fcntl(fds.memory.get(), F_GET_SEALS);
  if (status.st_size != 2 * sizeof(Ring) || seals < 0 || !(seals & F_SEAL_SHRINK))
    return Error{Errc::invalid, "this is no channel"};
  void* memory = mmap(nullptr, 2 * sizeof(Ring), PROT_READ | PROT_WRITE, MAP_SHARED, fds.memory.get(), 0);
  if (memory == MAP_FAILED) return io_error("channel");
  return Channel(std::move(fds), static_cast<std::byte*>(memory), side);
}

Channel::Channel(ChannelFds fds, std::byte* memory, Side side) : fds_(std::move(fds)), memory_(memory) {
  auto* calls = std::launder(reinterpret_cast<Ring*>(memory));
  auto* answers = std::launder(reinterpret_cast<Ring*>(memory + sizeof(Ring)));
  const bool tracer = side == Side::tracer;
  out_ = tracer ? calls : answers;
  in_ = tracer ? answers : calls;
  other_fd_ = (tracer ? fds_.for_proxy : fds_.for_tracer).get();
  own_fd_ = (tracer ? fds_.for_tracer : fds_.for_proxy).get();
}

Channel::Channel(Channel&& other) noexcept
    : fds_(std::move(other.fds_)),
      memory_(std::exchange(other.memory_, nullptr)),
      out_(other.out_),
      in_(other.in_),
      other_fd_(other.other_fd_),
      own_fd_(other.own_fd_),
      written_(other.written_),
      read_(other.read_),
      broken_(other.broken_) {}

Channel::~Channel() {
  if (memory_) munmap(memory_, 2 * sizeof(Ring));
}

// The bytes of `out` that have not been read.
uint64_t Channel::in_use() {
  const uint64_t used = written_ - out_->read.load(std::memory_order_seq_cst);
  if (used > kRingSize) broken_ = true;
  return used;
}

void Channel::wake_other() const {
  const uint64_t one = 1;
  (void)!write(other_fd_, &one, sizeof one);  // a full counter wakes as well
}

bool Channel::send(const Frame& frame) {
  const size_t size = kHeaderSize + frame.first.size() + frame.second.size();
  if (broken_ || size > kMaxFrame) return false;
  const uint64_t used = in_use();
  if (broken_) return false;
  if (padded(size) > kRingSize - used) {
    wanted_ = padded(size);
    return false;
  }
  const auto header = header_of(frame);
  uint64_t at = written_;
  const auto put = [&](std::span<const std::byte> bytes) {
    const size_t start = at % kRingSize;
    const size_t part = std::min(bytes.size(), kRingSize - start);
    if (part) std::memcpy(out_->data + start, bytes.data(), part);
    if (part < bytes.size()) std::memcpy(out_->data, bytes.data() + part, bytes.size() - part);
    at += bytes.size();
  };
  put(header);
  put(frame.first);
  put(frame.second);
  written_ += padded(size);
  out_->written.store(written_, std::memory_order_seq_cst);
  if (out_->receiver_sleeps.load(std::memory_order_seq_cst) && out_->receiver_sleeps.exchange(0)) wake_other();
  return true;
}

std::optional<Frame> Channel::receive(std::vector<std::byte>& storage) {
  if (broken_) return std::nullopt;
  const uint64_t there = in_->written.load(std::memory_order_acquire) - read_;
  if (there == 0) return std::nullopt;
  const auto get = [&](size_t offset, std::span<std::byte> out) {
    const size_t start = (read_ + offset) % kRingSize;
    const size_t part = std::min(out.size(), kRingSize - start);
    std::memcpy(out.data(), in_->data + start, part);
    if (part < out.size()) std::memcpy(out.data() + part, in_->data, out.size() - part);
  };
  uint32_t size = 0;
  if (there <= kRingSize && there >= kHeaderSize) get(0, std::as_writable_bytes(std::span(&size, 1)));
  if (size < kHeaderSize || size > kMaxFrame || padded(size) > there) {
    broken_ = true;
    return std::nullopt;
  }
  storage.resize(size);
  get(0, storage);
  read_ += padded(size);
  in_->read.store(read_, std::memory_order_seq_cst);
  if (in_->sender_waits.load(std::memory_order_seq_cst) && in_->sender_waits.exchange(0)) wake_other();
  // Parsed on the copy: the size at the first look may differ by now from the size in the copy, and parse() notices
  // that.
  const std::optional<Frame> frame = parse(storage);
  if (!frame) broken_ = true;
  return frame;
}

bool Channel::may_sleep() {
  in_->receiver_sleeps.store(1, std::memory_order_seq_cst);
  if (in_->written.load(std::memory_order_seq_cst) == read_ && !broken_) return true;
  in_->receiver_sleeps.store(0, std::memory_order_relaxed);
  return false;
}

bool Channel::may_wait_for_room() {
  out_->sender_waits.store(1, std::memory_order_seq_cst);
  if (wanted_ > kRingSize - in_use() && !broken_) return true;
  out_->sender_waits.store(0, std::memory_order_relaxed);
  return false;
}

int Channel::wake_fd() const { return own_fd_; }

void Channel::woken() {
  uint64_t count;
  (void)!read(own_fd_, &count, sizeof count);
}

}  // namespace oboro::proxy
