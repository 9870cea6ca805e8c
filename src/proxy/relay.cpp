#include "proxy/relay.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>
#include <utility>

namespace oboro::proxy {
namespace {

constexpr size_t kPiece = 64 << 10;  // of one read or write; and of the bytes that are gathered before one

constexpr int kFlushMs = 1000, kFlushStepMs = 50;

// Bytes that come in at the back and go out at the front.
class Buffer {
 public:
  std::span<const std::byte> content() const { return std::span(bytes_).subspan(start_); }
  size_t size() const { return bytes_.size() - start_; }
  void add(std::span<const std::byte> more) {
    if (start_ > 0 && start_ >= bytes_.size() - start_) {
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(start_));
      start_ = 0;
    }
    bytes_.insert(bytes_.end(), more.begin(), more.end());
  }
  void drop(size_t count) { start_ += count; }

 private:
  std::vector<std::byte> bytes_;
  size_t start_ = 0;
};

class Relay {
 public:
  Relay(Channel channel, UniqueFd stream) : channel_(std::move(channel)), stream_(std::move(stream)) {}

  Result<void> run(int end) {
    for (;;) {
      moved_ = false;
      for (const auto step : {&Relay::from_channel, &Relay::to_stream, &Relay::from_stream, &Relay::to_channel})
        if (auto done = (this->*step)(); !done) return done;
      if (channel_.broken()) return Error{Errc::invalid, "relay: the channel is broken"};
      if (over_) return {};
      auto ended = wait(end);
      if (!ended) return ended.error();
      if (*ended) return flush();
    }
  }

 private:
  Result<void> from_channel() {
    while (to_stream_.size() < kPiece && channel_.receive(frame_)) {
      to_stream_.add(frame_);
      moved_ = true;
    }
    return {};
  }

  // Frames that the tracer sent before its end are still done: one may be the last line of a log.
  Result<void> flush() {
    for (int waited = 0; waited < kFlushMs && !over_; waited += kFlushStepMs) {
      do {
        moved_ = false;
        if (auto done = from_channel(); !done) return done;
        if (auto done = to_stream(); !done) return done;
      } while (moved_ && !over_);
      if (to_stream_.size() == 0) break;
      pollfd room{stream_.get(), POLLOUT, 0};
      (void)poll(&room, 1, kFlushStepMs);
    }
    return {};
  }

  Result<void> to_stream() {
    if (to_stream_.size() == 0) return {};
    const auto content = to_stream_.content();
    const ssize_t count = write(stream_.get(), content.data(), std::min(content.size(), kPiece));
    if (count > 0) {
      to_stream_.drop(static_cast<size_t>(count));
      moved_ = true;
    } else if (errno == EPIPE || errno == ECONNRESET || errno == ENODEV) {
      over_ = true;
    } else if (errno != EAGAIN && errno != EINTR) {
      return Error{Errc::io, fmt::format("relay: write: {}", std::strerror(errno))};
    }
    return {};
  }

  Result<void> from_stream() {
    if (to_channel_.size() >= kMaxFrame) return {};
    const ssize_t count = read(stream_.get(), piece_.data(), piece_.size());
    if (count > 0) {
      to_channel_.add(std::span(piece_).first(static_cast<size_t>(count)));
      moved_ = true;
    } else if (count == 0 || errno == ECONNRESET || errno == ENODEV) {
      over_ = true;
    } else if (errno != EAGAIN && errno != EINTR) {
      return Error{Errc::io, fmt::format("relay: read: {}", std::strerror(errno))};
    }
    return {};
  }

  Result<void> to_channel() {
    full_ = false;
    for (;;) {
      const auto content = to_channel_.content();
      uint32_t size = 0;
      if (content.size() < sizeof size) return {};
      std::memcpy(&size, content.data(), sizeof size);
      if (size < kHeaderSize || size > kMaxFrame) return no_frame();
      if (content.size() < size) return {};
      const std::optional<Frame> frame = parse(content.first(size));
      if (!frame) return no_frame();
      if (!channel_.send(*frame)) {
        full_ = true;
        return {};
      }
      to_channel_.drop(size);
      moved_ = true;
    }
  }

  static Error no_frame() { return {Errc::invalid, "relay: what came through the stream is no frame"}; }

  // True: it is over. As long as something moves, this only looks and does not wait.
  Result<bool> wait(int end) {
    const bool takes = to_stream_.size() < kPiece;  // else the frames stay in the channel for now
    if (!moved_ && ((takes && !channel_.may_sleep()) || (full_ && !channel_.may_wait_for_room()))) return false;
    const bool reads = to_channel_.size() < kMaxFrame;
    const int events = (reads ? POLLIN : 0) | (to_stream_.size() ? POLLOUT : 0);
    std::array<pollfd, 3> waits = {pollfd{channel_.wake_fd(), POLLIN, 0},
                                   pollfd{stream_.get(), static_cast<short>(events), 0}, pollfd{end, POLLIN, 0}};
    if (poll(waits.data(), waits.size(), moved_ ? 0 : -1) < 0) {
      if (errno == EINTR) return false;
      return Error{Errc::io, fmt::format("relay: poll: {}", std::strerror(errno))};
    }
    if (waits[0].revents) channel_.woken();
    return waits[2].revents != 0 || (waits[1].revents & (POLLHUP | POLLERR | POLLIN)) == POLLHUP;
  }

  Channel channel_;
  UniqueFd stream_;
  Buffer to_stream_, to_channel_;
  std::vector<std::byte> frame_;
  std::array<std::byte, kPiece> piece_{};
  bool moved_ = false, full_ = false, over_ = false;
};

}  // namespace

Result<void> relay(Channel channel, UniqueFd stream, int end) {
  const int flags = fcntl(stream.get(), F_GETFL);
  if (flags < 0 || fcntl(stream.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return Error{Errc::io, fmt::format("relay: stream: {}", std::strerror(errno))};
  const auto one = std::make_unique<Relay>(std::move(channel), std::move(stream));
  return one->run(end);
}

}  // namespace oboro::proxy
