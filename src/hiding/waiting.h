// Waiting for descriptors of both worlds, and what the calls that do it have in common. The proxy is asked once, and
// answers when one of its sockets is ready; the guest's own are looked at without waiting, again and again in between
// (thread.h, pause).
#pragma once

#include <cstdint>
#include <functional>
#include <poll.h>
#include <vector>

#include "hiding/thread.h"

namespace oboro::hiding {

inline constexpr size_t kMostPolled = 1024;
inline constexpr int64_t kForEver = -1;
inline constexpr int64_t kSecond = 1'000'000'000;  // in ns

// How many of the guest's own are ready now, or -errno.
using GuestsOwn = std::function<Routine<int64_t>()>;

struct Waited {
  int64_t native = 0;  // as of GuestsOwn
  bool interrupted = false;
};

// Until one of `ours` (by handle; revents are filled in) or of the guest's own is ready, or for so long (kForEver).
Routine<Waited> wait_for_both(Thread& thread, std::vector<pollfd>& ours, int64_t timeout_ns, GuestsOwn native);

// The proxy's part of the epoll instance that a number of the guest's stands for (service.h); null: there is none.
std::shared_ptr<OpenFile> epoll_in_proxy(Thread& thread, uint64_t number);

// A signal mask for the time of the wait; none if mask is 0. 0 or -errno.
Routine<int64_t> set_mask(Thread& thread, uint64_t mask, uint64_t size);
Routine<int64_t> restore_mask(Thread& thread, uint64_t mask);

// struct timespec or, if microseconds, struct timeval, in ns; kForEver if user is null. 0 or -errno.
Routine<int64_t> copy_timeout(Thread& thread, uint64_t user, bool microseconds, int64_t& out);
// What is left of it, for the calls that say so; nothing if user is null. 0 or -errno.
Routine<int64_t> copy_time_left(Thread& thread, uint64_t user, bool microseconds, int64_t timeout, uint64_t begin_ns);

}  // namespace oboro::hiding
