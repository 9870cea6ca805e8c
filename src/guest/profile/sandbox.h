// The host's side of the sandboxed builder (oboro-profile, see main.cpp).
#pragma once

#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"
#include "guest/profile/profile.h"

namespace oboro::guest {

// Runs builder_path over the image in the memory file image_fd, mapped in the guest at base, and reads the profile
// back. What it says is not believed but parsed and validated like any file: its process has read a guest's bytes.
// Blocks up to timeout_ms; then the builder is killed. The environment and the file descriptors of this process are not
// passed on. image_fd stays the caller's. Any thread.
// Errors: unsupported (the kernel cannot be traced: the message is the builder's), io (it could not be started), limit
// (time or size), invalid (its answer), internal (it failed or died).
Result<Profile> build_profile_sandboxed(int image_fd, Gva base, std::string_view builder_path, int timeout_ms);

}  // namespace oboro::guest
