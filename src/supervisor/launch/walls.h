// What stands between a QEMU and the rest of this host, should its guest take it over: a user of its own, no new
// privileges, and Landlock. QEMU's own filter of system calls (-sandbox, machine.h) comes on top. How each of them
// holds is in docs/threat-model.md.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "store/status.h"

namespace oboro::supervisor {

// A user and a group, of one number, that nobody else on this host has. They are one guest's as long as this object
// lives.
class QemuUser {
 public:
  // No system gives these numbers to anybody (systemd's docs/UIDS-GIDS.md: "unused").
  static constexpr uid_t kFirst = 0x7000'0000, kCount = 0x1'0000;
  static constexpr char kLocks[] = "/run/oboro.users";

  // A state directory gets the same number again, unless somebody else has it meanwhile. locks: a file, made if need
  // be, in which byte N is locked for user kFirst + N. Errors: unsupported (this process cannot become another user),
  // io.
  static Result<QemuUser> take(const std::string& state_directory, const std::string& locks = kLocks);

  uid_t id() const { return id_; }
  // What makes a QEMU of this version ("11.1.3") become this user, once it has opened what it needs and before its
  // machine runs.
  std::vector<std::string> arguments(const std::string& qemu_version) const;

 private:
  QemuUser(uid_t id, UniqueFd lock) : id_(id), lock_(std::move(lock)) {}
  uid_t id_;
  UniqueFd lock_;
};

class Walls {
 public:
  // As many as this kernel has.
  static Walls raise();
  // For a process that is about to become QEMU; also between fork() and exec(). What it starts is inside, too. Returns
  // 0 or errno. After an error QEMU must not start.
  int enter() const;
  // What is forbidden towards all processes outside: "ptrace, signals", "ptrace" or nothing.
  const std::string& landlock() const { return landlock_; }

 private:
  UniqueFd ruleset_;
  std::string landlock_;
};

// As they are now, in words.
struct Standing {
  std::vector<std::string> walls, gaps;
};
// status: of a run that goes on, whose QEMU it is about.
Standing look_at_walls(const store::Status& status, const std::string& state_directory);

}  // namespace oboro::supervisor
