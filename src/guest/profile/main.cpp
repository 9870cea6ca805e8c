// oboro-profile IMAGE_FD IMAGE_BASE_HEX: prints the profile of the kernel whose image is in the (memory) file IMAGE_FD,
// mapped at IMAGE_BASE. The image is a guest's, so it is read in a sandbox that can do nothing but answer.
// Exit status: 0; 3 (the kernel cannot be traced: one line on standard error says why); 1 (anything else).
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <optional>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/number.h"
#include "guest/profile/build.h"
#include "guest/profile/lockdown.h"

namespace {

using oboro::Errc;
using oboro::Error;
using oboro::Gva;
using oboro::Result;
using oboro::write_all;

constexpr int kFailed = 1;
constexpr int kNotTraceable = 3;
constexpr off_t kMaxImage = 512 << 20;

int fail(int status, std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  write_all(STDERR_FILENO, "oboro-profile: " + message + "\n");
  return status;
}

template <typename T>
std::optional<T> number(std::string_view text, int base) {
  T value{};
  return oboro::parse_number(text, value, base) ? std::optional(value) : std::nullopt;
}

Result<std::span<const std::byte>> map_image(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return Error{Errc::io, fmt::format("the image: {}", std::strerror(errno))};
  if (!S_ISREG(status.st_mode) || status.st_size <= 0 || status.st_size > kMaxImage)
    return Error{Errc::invalid, "the image is no file, empty or too large"};
  const auto size = static_cast<size_t>(status.st_size);
  const void* at = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (at == MAP_FAILED) return Error{Errc::io, fmt::format("the image: {}", std::strerror(errno))};
  return std::span(static_cast<const std::byte*>(at), size);
}

int run(int argc, char** argv) {
  const auto fd = argc == 3 ? number<int>(argv[1], 10) : std::nullopt;
  const auto base = argc == 3 ? number<uint64_t>(argv[2], 16) : std::nullopt;
  if (!fd || !base) return fail(kFailed, "usage: oboro-profile IMAGE_FD IMAGE_BASE_HEX");
  const auto image = map_image(*fd);
  if (!image) return fail(kFailed, image.error().message);
  if (const auto locked = oboro::guest::lock_down(); !locked) return fail(kFailed, locked.error().message);

  const auto profile = oboro::guest::build_profile(*image, Gva(*base));
  if (!profile) {
    const Errc code = profile.error().code;
    const bool kernels_fault = code == Errc::not_found || code == Errc::unsupported || code == Errc::invalid;
    return fail(kernels_fault ? kNotTraceable : kFailed, profile.error().message);
  }
  if (!write_all(STDOUT_FILENO, profile->format())) return fail(kFailed, "cannot write the profile");
  return 0;
}

}  // namespace

// _exit: functions that run at exit may want system calls that the sandbox forbids.
int main(int argc, char** argv) { _exit(run(argc, argv)); }
