// A proxy's work: it takes calls from its channel, has each executed, and answers each as soon as it is done, in any
// order. File calls run on a few threads, because one may take long. Network calls that have to wait take no thread.
// The memory that the service can make this process hold is bounded: calls that would wait beyond that bound are
// answered with -ENOBUFS at once.
//
// Threads: run() on one; it starts the others.
#pragma once

#include <cstddef>
#include <functional>

#include "base/fd.h"
#include "base/result.h"
#include "proxy/channel.h"
#include "proxy/disk.h"
#include "proxy/sockets.h"

namespace oboro::proxy {

struct ServerLimits {
  size_t handles = 1024;  // open at the same time
  size_t waiting = 4096;  // calls that wait for the network, and again as many that wait for files
  // The bytes of calls that wait for the network. Once more as many for file calls under way, with the answers that
  // they may give, and for answers. Beyond the latter bound, calls stay in the channel until the tracer has taken some
  // answers.
  size_t bytes = 64 << 20;
  unsigned workers = 4;
  DiskLimits disk{};
};

// Serves until the other end of `life` is closed. `started` is called when all threads are there, and before the first
// call is taken: that is the moment to lock them in. Its error ends the proxy. Errors: io; invalid (the tracer's side
// broke the channel); those of `started`.
Result<void> serve(Channel channel, UniqueFd root, NetworkPolicy policy, ServerLimits limits, UniqueFd life,
                   const std::function<Result<void>()>& started = {});

}  // namespace oboro::proxy
