// Who owns a file in the guest: kept in an extended attribute, for on the host all belong to the proxy's user.
#pragma once

#include <cstdint>

namespace oboro::proxy {

struct Owner {
  uint32_t uid = 0, gid = 0;
};

// Of a descriptor that is not O_PATH.
Owner read_owner(int fd);
// -1: as it is. 0 or -errno.
int64_t write_owner(int fd, int64_t uid, int64_t gid);

}  // namespace oboro::proxy
