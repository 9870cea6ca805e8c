// The owner of a file in the guest. It is kept in an extended attribute, because on the host all files belong to the
// proxy's user.
#pragma once

#include <cstdint>

namespace oboro::proxy {

struct Owner {
  uint32_t uid = 0, gid = 0;
};

// fd must not be one of O_PATH.
Owner read_owner(int fd);
// -1: that number stays as it is. 0 or -errno.
int64_t write_owner(int fd, int64_t uid, int64_t gid);

}  // namespace oboro::proxy
