// Which state directory is a guest's, where several are side by side (oboro-qemu). A guest is known by its UUID: a name
// can be changed, and given to another guest later. The directory records whose it is in its file `uuid`.
#pragma once

#include <string>

#include "base/result.h"

namespace oboro::store {

struct GuestDirectory {
  std::string path;
  std::string taken_over;  // the path that it had until now, of the guest's name; empty: it had none
};

// Lower-case, as QEMU takes it: 8-4-4-4-12 hexadecimal digits. The UUID of all zeros is QEMU's for none: empty. Error:
// invalid.
Result<std::string> parse_uuid(const std::string& text);

// The directory below `below` for the guest, made if need be. With a UUID it is named by that; a directory that was
// made for the name and is nobody's yet becomes it. Without one (empty) it is named by the name. `name`: fit for a
// path. Errors: invalid (the directory is another guest's, or not safe), limit (it is to be taken over and in use), io.
Result<GuestDirectory> guest_directory(const std::string& below, const std::string& name, const std::string& uuid);

}  // namespace oboro::store
