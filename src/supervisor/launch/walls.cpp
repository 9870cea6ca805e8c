#include "supervisor/launch/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/io_error.h"
#include "base/landlock.h"

namespace oboro::supervisor {
namespace {

// A container may have no such user, or lack the capabilities. Only trying tells.
bool can_become(uid_t id) {
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) _exit(setgroups(1, &id) == 0 && setgid(id) == 0 && setuid(id) == 0 ? 0 : 1);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

Result<QemuUser> QemuUser::take(const std::string& state_directory, const std::string& locks) {
  if (geteuid() != 0) return Error{Errc::unsupported, "only root can give QEMU a user of its own"};
  UniqueFd lock(open(locks.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return io_error(locks);
  struct stat guest {};
  if (stat(state_directory.c_str(), &guest) != 0) return io_error(state_directory);
  const auto first = static_cast<uid_t>((guest.st_ino ^ guest.st_dev * 31) % kCount);
  for (uid_t i = 0; i < kCount; ++i) {
    const uid_t n = (first + i) % kCount;
    struct flock one {};
    one.l_type = F_WRLCK;
    one.l_start = n;
    one.l_len = 1;
    if (fcntl(lock.get(), F_OFD_SETLK, &one) == 0) {
      if (!can_become(kFirst + n))
        return Error{Errc::unsupported, fmt::format("user {} is not to be had here", kFirst + n)};
      return QemuUser(kFirst + n, std::move(lock));
    }
    if (errno != EAGAIN && errno != EACCES) return io_error(locks);
  }
  return Error{Errc::limit, "all users for QEMU are taken"};
}

std::vector<std::string> QemuUser::arguments(const std::string& qemu_version) const {
  unsigned major = 0, minor = 0;
  (void)sscanf(qemu_version.c_str(), "%u.%u", &major, &minor);
  if (major > 9 || (major == 9 && minor >= 1)) return {"-run-with", fmt::format("user={0}:{0}", id_)};
  return {"-runas", fmt::format("{0}:{0}", id_)};
}

Walls Walls::raise() {
  Walls walls;
  const long known = landlock::version();
  if (known < 1) return walls;
  // QEMU opens and binds whatever its arguments name, so only what it never does is forbidden. That is enough to be
  // kept from the memory of all processes outside.
  landlock::Ruleset rules;
  rules.files = landlock::kMakeChar | landlock::kMakeBlock;
  if (known >= 6) rules.scopes = landlock::kSignal;
  walls.ruleset_ = landlock::create(rules);
  if (walls.ruleset_) walls.landlock_ = known >= 6 ? "ptrace, signals" : "ptrace";
  return walls;
}

int Walls::enter() const {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  if (ruleset_ && !landlock::restrict_self(ruleset_)) return errno;
  return 0;
}

Standing look_at_walls(const store::Status& status, const std::string& state_directory) {
  Standing standing;
  const auto add = [&](bool stands, std::string wall, std::string gap) {
    (stands ? standing.walls : standing.gaps).push_back(stands ? std::move(wall) : std::move(gap));
  };
  std::ifstream file(fmt::format("/proc/{}/status", status.qemu_pid));
  std::string key;
  uid_t user = 0;
  bool known = false, no_new_privileges = false;
  unsigned long filters = 0;
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    const auto number = [&] { return strtoul(line.c_str() + colon + 1, nullptr, 10); };
    if (line.starts_with("Uid:")) user = static_cast<uid_t>(number()), known = true;
    if (line.starts_with("NoNewPrivs:")) no_new_privileges = number() == 1;
    if (line.starts_with("Seccomp_filters:")) filters = number();
  }
  if (!known) {
    standing.gaps.emplace_back("nothing is known of QEMU's process");
    return standing;
  }
  struct stat owner {};
  const bool owns = stat(state_directory.c_str(), &owner) != 0 || owner.st_uid == user;
  add(user != 0 && !owns, fmt::format("a user of its own, {}", user),
      user == 0 ? std::string("it is root")
                : fmt::format("it has the rights of user {}, whose the state directory is", user));
  add(no_new_privileges, "no new privileges", "programs that it starts may get privileges (set-user-ID)");
  // A gate is a filter, too, but none that keeps anybody in.
  add(filters > (status.gate ? 1U : 0U), "a filter of system calls", "no filter of system calls (-sandbox)");
  add(status.landlock.find("ptrace") != std::string::npos, "no way to the memory of other processes (Landlock)",
      "processes of its user can be traced (no Landlock)");
  add(status.landlock.find("signals") != std::string::npos, "no signals to other processes (Landlock)",
      "processes of its user can be signalled (Landlock before Linux 6.12)");
  if (status.engine == "kvm")
    add(status.gate, "no machine past its tracer (seccomp)",
        "nothing would hold it back from a machine past its tracer (no seccomp user notification)");
  return standing;
}

}  // namespace oboro::supervisor
