// A proxy's work: takes calls from its channel, has each executed, and answers it as soon as it is done, in whatever
// order. File calls run on a few threads, for one may take long; network calls that have to wait, wait without one.
// What the service can make this process hold is bounded: calls beyond that are answered with -ENOBUFS at once.
//
// Threads: run() on one; it starts the others.
#pragma once

#include <cstddef>

#include "base/fd.h"
#include "base/result.h"
#include "proxy/channel.h"
#include "proxy/sockets.h"

namespace oboro::proxy {

struct ServerLimits {
  size_t handles = 1024;    // open at the same time
  size_t waiting = 4096;    // calls that wait for the network
  size_t bytes = 64 << 20;  // of calls that wait or are queued, and of answers
  unsigned workers = 4;
};

// Serves until the other end of `life` is closed. Errors: io; invalid (the tracer's side broke the channel).
Result<void> serve(Channel channel, UniqueFd root, NetworkPolicy policy, ServerLimits limits, UniqueFd life);

}  // namespace oboro::proxy
