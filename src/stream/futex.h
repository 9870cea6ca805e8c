// futex(2) between processes: the words are in shared mappings, so these are not the _PRIVATE operations.
#pragma once

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace oboro::stream {

// Sleeps while the word is `expected`, at most timeout_ms. Returns 0 or errno: EAGAIN (it is another), ETIMEDOUT,
// EINTR, EFAULT (nothing is mapped there, or the file ends before it).
inline int futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, int timeout_ms) {
  const timespec timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1'000'000L};
  return ::syscall(SYS_futex, &word, FUTEX_WAIT, expected, &timeout, nullptr, 0) == 0 ? 0 : errno;
}

inline void futex_wake(const std::atomic<uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace oboro::stream
