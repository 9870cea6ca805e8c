// The file calls of a hidden service, executed beneath one directory: the proxy's root. No path leads out of it.
// openat2(2) with RESOLVE_IN_ROOT resolves each path, and holds against "..", links and concurrent renames. A call that
// has no such form works on the last name of a path, in a directory that was found in that way, and follows no link.
//
// A service can have only regular files, directories and symbolic links. The proxy's user owns all files on the host.
// The owners that the service has set are kept in an extended attribute.
//
// Threads: any number of calls at the same time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "proxy/disk.h"
#include "proxy/handles.h"
#include "proxy/wire.h"

namespace oboro::proxy {

// The result of a call. Parts of the answer's frame refer to it.
struct Done {
  int64_t result = 0;  // or -errno
  int64_t extra = 0;
  std::vector<std::byte> first, second;
};

class Files {
 public:
  // root: a directory (O_PATH will do).
  Files(UniqueFd root, Handles& handles, const DiskLimits& limits = {})
      : root_(std::move(root)), handles_(handles), disk_(root_.get(), limits) {}

  // To be called before the first call. Errors: those of DiskQuota::count().
  Result<void> count() { return disk_.count(); }
  const DiskQuota& quota() const { return disk_.quota(); }

  static bool is_file_call(Op op) { return op >= Op::open && op <= Op::setfl; }
  // call.op must be one of the file calls. Everything else in the call may be nonsense.
  Done execute(const Frame& call);

 private:
  UniqueFd root_;
  Handles& handles_;
  Disk disk_;
};

}  // namespace oboro::proxy
