#include "guest/profile/cache.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "base/fd.h"

namespace oboro::guest {
namespace {

constexpr size_t kMaxKey = 128;
constexpr size_t kMaxEntry = 64 << 10;

Error cache_error(std::string_view what, int error) {
  return {Errc::io, fmt::format("profile cache: {}: {}", what, std::strerror(error))};
}

// A key becomes a file name, so it may have nothing but hex digits.
bool is_key(std::string_view key) {
  return !key.empty() && key.size() <= kMaxKey && key.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Whoever can write an entry decides how guest memory is read.
bool only_ours(int fd, mode_t type) {
  struct stat status {};
  return fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) == type && status.st_uid == geteuid() &&
         (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

std::optional<std::string> read_all(int fd) {
  std::string text;
  std::array<char, 16384> buffer;
  while (true) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 || static_cast<size_t>(got) > kMaxEntry - text.size()) return std::nullopt;
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
}

UniqueFd open_directory(const std::string& path) {
  UniqueFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (directory && !only_ours(directory.get(), S_IFDIR)) {
    directory.reset();
    errno = EPERM;
  }
  return directory;
}

Result<void> store_text(const std::string& path, std::string_view key, std::string_view text) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) return cache_error(path, error.value());
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return cache_error(path, errno);
  const UniqueFd directory = open_directory(path);
  if (!directory) return cache_error(path, errno);

  static std::atomic<unsigned> serial{0};
  const std::string temporary = fmt::format(".{}.{}.{}", key, getpid(), serial++);
  const std::string entry = fmt::format("{}.profile", key);
  UniqueFd file(openat(directory.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return cache_error(path, errno);
  // Without fsync an entry may be cut off after a crash of the host; load() then takes it for absent.
  if (write_all(file.get(), text) && renameat(directory.get(), temporary.c_str(), directory.get(), entry.c_str()) == 0)
    return {};
  const int reason = errno;
  unlinkat(directory.get(), temporary.c_str(), 0);
  return cache_error(path, reason);
}

std::optional<Profile> load_entry(const std::string& path, std::string_view key) {
  const UniqueFd directory = open_directory(path);
  if (!directory) return std::nullopt;
  const std::string entry = fmt::format("{}.profile", key);
  // O_NONBLOCK, so that a FIFO of this name does not hold us up.
  const UniqueFd file(openat(directory.get(), entry.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!file || !only_ours(file.get(), S_IFREG)) return std::nullopt;
  const auto text = read_all(file.get());
  if (!text) return std::nullopt;
  auto profile = Profile::parse(*text);
  if (!profile) return std::nullopt;
  return *std::move(profile);
}

}  // namespace

ProfileCache::ProfileCache(std::string_view cache_directory)
    : directory_(fmt::format("{}/profiles", cache_directory)) {}

std::optional<Profile> ProfileCache::load(std::string_view key) const {
  if (!is_key(key)) return std::nullopt;
  try {
    return load_entry(directory_, key);
  } catch (const std::exception&) {  // no memory
    return std::nullopt;
  }
}

Result<void> ProfileCache::store(std::string_view key, const Profile& profile) const {
  if (!is_key(key)) return Error{Errc::invalid, "profile cache: not a key"};
  try {
    return store_text(directory_, key, profile.format());
  } catch (const std::exception& error) {  // no memory
    return Error{Errc::limit, error.what()};
  }
}

}  // namespace oboro::guest
