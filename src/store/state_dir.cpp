#include "store/state_dir.h"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io_error.h"
#include "base/number.h"
#include "store/files.h"

namespace oboro::store {
namespace {

constexpr int kLockTries = 200, kLockTriesOfEnd = 15000;  // a full disk is tried again for 10 s at a run's end
constexpr useconds_t kLockRetryUs = 1000;

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Who wrote its PID there: `oboro run`, or the QEMU that oboro-qemu has become. 0: nobody knows.
pid_t owner(const std::string& path) {
  const auto text = read_file(path, 64);
  pid_t pid = 0;
  return text && parse_number(std::string_view(*text).substr(0, text->find('\n')), pid) && pid > 0 ? pid : 0;
}

std::string in_brackets(pid_t pid) { return pid == 0 ? "" : " (process " + std::to_string(pid) + ")"; }

// False, with errno. Two have a lock for a moment only: a process that asks is_taken(); and the rest of a run whose
// owner is gone.
bool lock(int fd, const std::string& path) {
  for (int i = 0; ::flock(fd, LOCK_EX | LOCK_NB) != 0; ++i) {
    if (errno != EWOULDBLOCK) return false;
    const pid_t pid = i < kLockTries ? 0 : owner(path);
    const bool ends = pid != 0 && ::kill(pid, 0) != 0 && errno == ESRCH && i < kLockTriesOfEnd;
    if (i >= kLockTries && !ends) {
      errno = EWOULDBLOCK;
      return false;
    }
    ::usleep(kLockRetryUs);
  }
  return true;
}

}  // namespace

Result<std::string> default_state_directory() {
  if (auto path = from_environment("OBORO_STATE"); !path.empty()) return path;
  // The specification says that a relative XDG_STATE_HOME is invalid and to be ignored.
  if (auto path = from_environment("XDG_STATE_HOME"); path.starts_with('/')) return path + "/oboro/default";
  if (auto path = from_environment("HOME"); path.starts_with('/')) return path + "/.local/state/oboro/default";
  return Error{Errc::not_found, "no state directory: set OBORO_STATE or HOME, or give --state DIR"};
}

Result<void> check_state_directory(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return io_error(path);
  if (!S_ISDIR(status.st_mode)) return Error{Errc::invalid, path + ": is not a directory"};
  if (status.st_uid != ::geteuid())
    return Error{Errc::invalid, path + ": belongs to user " + std::to_string(status.st_uid) + ", not to " +
                                    std::to_string(::geteuid()) + ", who runs this: run it as the owner"};
  if ((status.st_mode & 022) != 0)
    return Error{Errc::invalid, path + ": others may write in it; remove that right (chmod go-w)"};
  return {};
}

Result<void> create_state_directory(const std::string& path) {
  if (path.empty()) return Error{Errc::invalid, "the state directory has an empty name"};
  for (size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string parent = path.substr(0, end);
    if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST) return io_error(parent);
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return io_error(path);
  return check_state_directory(path);
}

std::string lock_path(const std::string& state_directory) { return state_directory + "/lock"; }

Result<StateLock> StateLock::take(const std::string& state_directory) {
  const std::string path = lock_path(state_directory), guest_path = path + ".guest";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return io_error(path);
  UniqueFd guest_fd(::open(guest_path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!guest_fd) return io_error(guest_path);
  if (!lock(fd.get(), path)) {
    if (errno != EWOULDBLOCK) return io_error(path);
    return Error{Errc::limit, state_directory + ": is in use by another oboro run" + in_brackets(owner(path))};
  }
  if (!lock(guest_fd.get(), path)) {
    if (errno != EWOULDBLOCK) return io_error(guest_path);
    return Error{Errc::limit, state_directory +
                                  ": is in use by the guest of an earlier oboro run, which has lost its supervisor" +
                                  in_brackets(owner(path)) + ": end its QEMU first"};
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) return io_error(path);
  return StateLock(std::move(fd), std::move(guest_fd));
}

bool StateLock::is_taken(const std::string& state_directory) {
  const UniqueFd fd(::open(lock_path(state_directory).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  return ::flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace oboro::store
