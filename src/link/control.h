// A channel between the engine side (in QEMU) and the supervisor (`oboro run`): a SOCK_SEQPACKET pair, one message of
// messages.def a packet. There are two channels. On `control` the tracer speaks first (when a kernel is met, and never
// for an operation of the guest). On `commands` the supervisor speaks first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "link/messages.h"

namespace oboro::link {

inline constexpr size_t kMostFds = 4;  // of one message

struct Message {
  uint32_t request = 0;
  Body body;
  std::vector<UniqueFd> fds;  // at most kMostFds; those beyond are closed

  Type type() const { return type_of(body); }
  template <typename T>
  const T* as() const {
    return std::get_if<T>(&body);
  }
};

// Waits while the other side does not read, unless the socket is O_NONBLOCK. Errors: io (also if the other side is
// gone, or does not read), limit (too long, too many descriptors).
Result<void> send(int socket, const Body& body, uint32_t request = 0, std::span<const int> fds = {});
// Waits at most timeout_ms (-1: for ever). Errors: io (also if the other side is gone), limit (time-out; too long),
// invalid (as for decode()).
Result<Message> receive(int socket, int timeout_ms);

}  // namespace oboro::link
