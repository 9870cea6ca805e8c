// Waiting for descriptors of both worlds, and what the calls that wait have in common. The proxy is asked once, and
// answers when one of its sockets is ready. The guest's own descriptors are looked at, without waiting, again and
// again. Where the pause between two looks is a sleep (steer/wait.cpp), the task sleeps in the kernel's own wait for
// these descriptors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <poll.h>
#include <vector>

#include "hiding/service/thread.h"

namespace oboro::hiding {

inline constexpr size_t kMostPolled = 1024;
inline constexpr int64_t kForEver = -1;
inline constexpr int64_t kSecond = 1'000'000'000;  // in ns

// The guest's own descriptors.
struct GuestsOwn {
  std::function<Routine<int64_t>()> look;  // how many are ready, or -errno; empty: there are no such descriptors
  // As look(), after a sleep of at most this long, until one is ready or a signal comes. 0 if it cannot tell; -errno:
  // it cannot be done. Empty: as for look.
  std::function<Routine<int64_t>(uint64_t nanoseconds)> sleep;
};

struct Waited {
  int64_t native = 0;  // the result of GuestsOwn
  bool interrupted = false;
};

// A hidden descriptor that is waited for (struct pollfd).
struct HiddenPoll {
  std::shared_ptr<OpenFile> file;
  short events = 0, revents = 0;
};
// Waits until one of `ours` (revents are filled in) or of the guest's own is ready, or for this long (kForEver). What
// was open in a proxy that is gone is ready at once, and broken.
Routine<Waited> wait_for_both(Thread& thread, std::vector<HiddenPoll>& ours, int64_t timeout_ns,
                              const GuestsOwn& native);

// The proxy's part of the epoll instance that a number of the guest's stands for (service.h); null: there is none.
std::shared_ptr<OpenFile> epoll_in_proxy(Thread& thread, uint64_t number);

// Sets a signal mask for the time of the wait; none if mask is 0. 0 or -errno.
Routine<int64_t> set_mask(Thread& thread, uint64_t mask, uint64_t size);
Routine<int64_t> restore_mask(Thread& thread, uint64_t mask);

// Copies in a struct timespec or, if microseconds, a struct timeval, as ns; kForEver if user is null. 0 or -errno.
Routine<int64_t> copy_timeout(Thread& thread, uint64_t user, bool microseconds, int64_t& out);
// Gives the program the time that is left, for the calls that say so; nothing if user is null. 0 or -errno.
Routine<int64_t> copy_time_left(Thread& thread, uint64_t user, bool microseconds, int64_t timeout, uint64_t begin_ns);

}  // namespace oboro::hiding
