// Landlock: rights that a process gives up for good, for itself and all that it starts (Linux's
// Documentation/userspace-api/landlock.rst). linux/landlock.h is older than the newer rights, wherever the C library
// is.
//
// No function allocates or locks. Errors are in errno.
#pragma once

#include <cstdint>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

namespace oboro::landlock {

// Of files.
constexpr uint64_t kExecute = 1 << 0, kMakeChar = 1 << 6, kMakeSock = 1 << 9, kMakeFifo = 1 << 10, kMakeBlock = 1 << 11;
constexpr uint64_t kFirst = (1 << 13) - 1;                                         // all of version 1
constexpr uint64_t kRefer = 1 << 13, kTruncate = 1 << 14, kIoctlDevice = 1 << 15;  // versions 2, 3 and 5
constexpr uint64_t kBindTcp = 1, kConnectTcp = 2;                                  // 4
constexpr uint64_t kAbstractSocket = 1, kSignal = 2;                               // 6

// What only its rules allow. With any of it, processes outside cannot be traced (ptrace) either.
struct Ruleset {
  uint64_t files = 0, network = 0, scopes = 0;
};

// 0 or less: this kernel has none, or it is switched off.
inline long version() { return syscall(SYS_landlock_create_ruleset, nullptr, 0, 1); }

inline UniqueFd create(const Ruleset& rules) {
  return UniqueFd(static_cast<int>(syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0)));
}

inline bool allow_beneath(const UniqueFd& set, int directory, uint64_t rights) {
  const struct [[gnu::packed]] {
    uint64_t allowed;
    int32_t directory;
  } rule{rights, directory};
  return syscall(SYS_landlock_add_rule, set.get(), 1, &rule, 0) == 0;
}

inline bool allow_port(const UniqueFd& set, uint16_t port, uint64_t rights) {
  const struct { uint64_t allowed, port; } rule{rights, port};
  return syscall(SYS_landlock_add_rule, set.get(), 2, &rule, 0) == 0;
}

// For this thread; no_new_privs has to be set.
inline bool restrict_self(const UniqueFd& set) { return syscall(SYS_landlock_restrict_self, set.get(), 0) == 0; }

}  // namespace oboro::landlock
