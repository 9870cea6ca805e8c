// The host's side of the sandboxed builder (oboro-profile, see main.cpp).
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "base/address.h"
#include "base/result.h"
#include "guest/profile/profile.h"

namespace oboro::guest {

// A builder at work. Its answer is parsed and validated like any file, because its process has read a guest's bytes. No
// function waits for it. Threads: one.
class ProfileBuild {
 public:
  // Starts builder_path over the image in the memory file image_fd, mapped in the guest at base. The environment and
  // the file descriptors of this process are not passed on. image_fd stays the caller's. Errors: io, limit (memory).
  static Result<ProfileBuild> start(int image_fd, Gva base, std::string_view builder_path, int timeout_ms);
  ProfileBuild(ProfileBuild&&) noexcept;
  ProfileBuild& operator=(ProfileBuild&&) noexcept;
  ~ProfileBuild();  // ends the builder if it still works

  // Readable when proceed() has something to do; also when the time is over.
  int poll_fd() const;
  // The builder's answer, once it has ended: the profile. To be called until there is one. Errors: unsupported (the
  // kernel cannot be traced: the message is the builder's), limit (time or size; then the builder is to be ended),
  // invalid (its answer), internal (it failed or died).
  std::optional<Result<Profile>> proceed();

 private:
  struct Work;
  explicit ProfileBuild(std::unique_ptr<Work> work);
  std::unique_ptr<Work> work_;
};

}  // namespace oboro::guest
