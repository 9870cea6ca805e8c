// A proxy's work: takes calls from its channel, has each executed, and answers it as soon as it is done, in whatever
// order. File calls run on a few threads, for one may take long; network calls that have to wait, wait without one.
// What the service can make this process hold is bounded: calls that wait beyond that are answered with -ENOBUFS at
// once.
//
// Threads: run() on one; it starts the others.
#pragma once

#include <cstddef>
#include <functional>

#include "base/fd.h"
#include "base/result.h"
#include "proxy/channel.h"
#include "proxy/sockets.h"

namespace oboro::proxy {

struct ServerLimits {
  size_t handles = 1024;  // open at the same time
  size_t waiting = 4096;  // calls that wait for the network, and as many for files
  // Of calls that wait for the network; and once more of file calls under way, counted with what they may answer, and
  // of answers. What would be more than the latter stays in the channel until the tracer has taken some.
  size_t bytes = 64 << 20;
  unsigned workers = 4;
  bool shared_disk = false;  // the last of the root's file system is not for the service (disk_reserve.h)
};

// Serves until the other end of `life` is closed. `started` is called when all threads run that there will be, and
// before the first call is taken: the moment to lock them in; its error ends it all.
// Errors: io; invalid (the tracer's side broke the channel); those of `started`.
Result<void> serve(Channel channel, UniqueFd root, NetworkPolicy policy, ServerLimits limits, UniqueFd life,
                   const std::function<Result<void>()>& started = {});

}  // namespace oboro::proxy
