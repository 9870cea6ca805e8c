// Gives up everything that a proxy does not need, in two steps, before the proxy looks at the first byte of a service.
//
// The owner of the files: all files beneath the root directory belong to one user of the host, the owner of that
// directory. The proxy becomes this user if root starts it. If the owner is root, the proxy becomes nobody all the
// same: its mount of the directory is idmapped, so that root's files there, and only there, are its own. Where a file
// system cannot do that, the proxy stays user 0 without a capability: beneath the root that is no more than any owner
// may do, and there is nothing else. A proxy that another user starts needs user namespaces, and a directory of that
// user's own.
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
  bool network = false;  // true: the host's network; false: a namespace without any
  std::vector<uint16_t>
      listen;  // ports that are bound; a port below 1024 takes CAP_NET_BIND_SERVICE, which is kept then
  std::optional<std::set<uint16_t>> connect;  // TCP ports to connect to, of any host; nothing: all ports
  size_t memory = kDefaultMemory;             // of address space
  size_t files = kDefaultFiles;
};

// First step, for a process with one thread: namespaces (mount, PID, IPC, UTS, cgroup, network), `root` as the root of
// all paths, the user, Landlock (where the kernel has it, from its second version on), resource limits, capabilities.
// Returns in a child, which is process 1 of its namespace. The result is the directory to be given to Files. The
// caller's own process stays as the parent. It only ends when the child ends, and takes the child with it when it is
// killed.
// The caller must have no other directory open. Errors: invalid (root is no directory); io (the host allows no
// namespace, ...). After an error nothing must be served.
Result<UniqueFd> confine(UniqueFd root, const Confinement& wanted);

// Second step, when all threads are there: no thread can be added, and each may make only the system calls of
// allowed_calls(), with the arguments that this library gives them. Any other call ends the process (SIGSYS). There is
// no filter in builds with a sanitizer.
Result<void> seal(const Confinement& wanted);

std::vector<int> allowed_calls(bool network);

}  // namespace oboro::proxy
