// The way between a tracer and a proxy on the same host: two rings of frames in a memory file that both map, and an
// eventfd for each side, which wakes it when it sleeps. Nobody polls. Nobody makes a system call for a frame unless the
// other side sleeps.
//
// Either side may be an attacker, so the mapping is never trusted: each side keeps its own positions and checks the
// other's, and a frame is copied out before it is looked at. A ring that contradicts itself is broken, for good.
//
// Threads: one sender and one receiver on each side at a time (the callers' locks).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "proxy/wire.h"

namespace oboro::proxy {

// The descriptors of a channel. The other process gets them by inheritance.
struct ChannelFds {
  UniqueFd memory;      // memory file, sealed against shrinking
  UniqueFd for_proxy;   // eventfd: calls are there
  UniqueFd for_tracer;  // eventfd: answers are there
};

class Channel {
 public:
  enum class Side { tracer, proxy };
  static constexpr size_t kRingSize = 4 << 20;
  static_assert(kRingSize >= 2 * kMaxFrame);

  static Result<ChannelFds> create();
  // Maps the memory. The descriptors then belong to this channel. Errors: io, invalid (it is no channel).
  static Result<Channel> attach(ChannelFds fds, Side side);
  Channel(Channel&& other) noexcept;
  Channel& operator=(Channel&&) = delete;
  ~Channel();

  // False: there is no room now (too much is on its way), or the channel is broken.
  bool send(const Frame& frame);
  // The next frame. Its parts refer to `storage`. Nothing: there is no frame, or the channel is broken.
  std::optional<Frame> receive(std::vector<std::byte>& storage);
  // Says that the caller is about to sleep on wake_fd(). False: it must not, because there is a frame.
  bool may_sleep();
  // Says that send() found no room, and that the caller is about to sleep. False: there is room by now.
  bool may_wait_for_room();
  int wake_fd() const;
  void woken();  // takes the wake-up: a frame, or room, or both
  bool broken() const { return broken_; }

 private:
  struct Ring;
  Channel(ChannelFds fds, std::byte* memory, Side side);
  uint64_t in_use();
  void wake_other() const;

  ChannelFds fds_;
  std::byte* memory_;
  Ring* out_;
  Ring* in_;
  int other_fd_;
  int own_fd_;
  uint64_t written_ = 0;  // of `out`; only our own count is trusted
  uint64_t read_ = 0;     // of `in`
  bool broken_ = false;
  size_t wanted_ = 0;  // bytes for which the last send() had no room
};

}  // namespace oboro::proxy
