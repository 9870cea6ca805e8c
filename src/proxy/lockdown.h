// Gives up everything that a proxy does not need, in two steps, before it looks at the first byte of a service.
//
// Whose the files are: all beneath the root directory belong to one user of the host, the owner of that directory, and
// this is who the proxy becomes when root starts it. If the owner is root, the proxy becomes nobody all the same: its
// mount of the directory is idmapped, so that root's files there, and only there, are its own. Where a file system
// cannot do that, it stays user 0 without a capability: beneath the root that is no more than any owner has, and there
// is nothing else. A proxy that somebody else starts needs user namespaces and a directory of its own user.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "proxy/limits.h"

namespace oboro::proxy {

struct Confinement {
  bool network = false;          // the host's; otherwise a namespace without any
  std::vector<uint16_t> listen;  // ports that are bound; below 1024 one takes CAP_NET_BIND_SERVICE, which is then kept
  std::optional<std::set<uint16_t>> connect;  // TCP ports, of whatever host; nothing: any, as far as this is concerned
  size_t memory = kDefaultMemory;             // of address space
  size_t files = kDefaultFiles;
};

// First step, for a process with one thread: namespaces (mount, PID, IPC, UTS, cgroup, network), `root` as the root of
// all paths, the user, Landlock (where the kernel has it, from its second version on), resource limits, capabilities.
// Returns in a child, which is process 1 of its namespace, the directory to be given to Files; the caller's own process
// stays as a parent that does nothing but end as the child ends, and takes the child with it when it is killed.
// The caller has no other directory open. Errors: invalid (root is no directory); io (the host allows no namespace,
// ...): nothing must be served then.
Result<UniqueFd> confine(UniqueFd root, const Confinement& wanted);

// Second step, when all threads are there: none can be added, and each may make the system calls of allowed_calls()
// only, with the arguments that this library gives them. Anything else ends the process (SIGSYS). No filter in builds
// with a sanitizer.
Result<void> seal(const Confinement& wanted);

std::vector<int> allowed_calls(bool network);

}  // namespace oboro::proxy
