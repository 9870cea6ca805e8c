// The names of the guest's users: /etc/passwd below the root directory of the guest's first process, as far as the
// guest's kernel has it in RAM.
//
// So names are those of the virtual machine. A process in a container, too, has its UID in the initial user namespace,
// and the name that the VM has for that UID, not the container's. Users that only a name service knows (LDAP, SSSD)
// have no name here.
//
// Anything unexpected gives no name: never a wrong name, and no error. Examples: a directory or a page that is not
// cached, a file that is being written, an overlay as root, a symbolic link, a kernel that lacks a member. Whoever
// rules the guest rules its file. Its users can have names missing, by many names in /etc of files that do not exist,
// or by mounts that come and go. Two changes within one tick of the guest's clock that leave the file's size as it was
// look like one: the second is seen with the next change.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "guest/file.h"
#include "guest/kernel.h"
#include "guest/passwd.h"

namespace oboro::guest {

class Users {
 public:
  static constexpr size_t kMaxChildren = 4096;     // cached entries of / and /etc that are looked at
  static constexpr size_t kMaxMounts = 4096;       // mounts on a mount
  static constexpr uint64_t kMaxFile = 256 << 10;  // bytes; users behind them have no name
  // A pause follows each look for the file, and each reading of all of it. It is this many times as long as that took,
  // so a guest that makes both necessary again and again costs a twentieth of the time at most. There is no name
  // meanwhile.
  static constexpr int kPause = 20;

  // kernel must outlive this.
  explicit Users(const Kernel& kernel, int pause = kPause);

  // Empty where the name is not known. For an event, not for a hook that changes nothing: takes a lock, and may
  // allocate. Reads: some 40 values where nothing has changed since the last time. Otherwise, after a pause: some for
  // each cached entry of / and /etc and for each mount on the root, and the file; 110,000 twice for a guest that does
  // its worst. Threads: any.
  std::string name(uint32_t uid);

 private:
  struct Place {
    Gva mount, dentry;  // struct mount, struct dentry
    bool operator==(const Place&) const = default;
  };
  // Where a name led the last time. It still does if the dentry is as it was, and no mount has changed.
  struct Step {
    Place directory;
    Gva child;
    Place place;
  };
  // The kernel's counters of renames and of changes to mounts. A counter is odd while a change is under way.
  struct Sequences {
    uint32_t renames = 0, mounts = 0;
    bool operator==(const Sequences&) const = default;
  };
  // Which file it is, and which state of it.
  struct Version {
    Gva inode;
    uint64_t number = 0, size = 0, mtime = 0, ctime = 0;
    uint32_t mtime_nsec = 0, ctime_nsec = 0;
    bool operator==(const Version&) const = default;
  };

  bool refresh();
  bool refresh_once(Reader& r);
  bool may_try();
  Sequences sequences(Reader& r) const;
  Place root(Reader& r) const;
  Place look_up(Reader& r, Step& step, Place directory, std::string_view name);
  Gva find_child(Reader& r, Gva directory, std::string_view name) const;
  Place topmost(Reader& r, Place place) const;
  Gva mounted_at(Reader& r, Place place) const;
  Version version(Reader& r, Inode file) const;
  bool load(Reader& r, const Version& file);

  using Clock = std::chrono::steady_clock;

  const Kernel& kernel_;
  const int pause_;
  bool supported_ = false;
  std::mutex mutex_;  // guards what follows
  Clock::time_point next_try_{};
  // In this refresh(): whether it may look for the file, or at all of it; and whether it has.
  bool allowed_ = false, tried_ = false;
  Step etc_, passwd_;
  std::optional<uint32_t> mounts_;  // Sequences::mounts when the steps were found; none: they do not count
  Version loaded_;                  // the file and state that names_ are of
  UserNames names_;
};

}  // namespace oboro::guest
