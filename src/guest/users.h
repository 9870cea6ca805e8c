// The names of the guest's users: /etc/passwd below the root directory of the guest's first process, as far as the
// guest's kernel has it in RAM.
//
// So names are those of the virtual machine. A process in a container has its UID in the initial user namespace, too,
// and the name that the VM has for it, not the container's. What a name service knows (LDAP, SSSD) has no name here.
//
// Whatever is not as expected - a directory or a page that is not cached, a file being written to, an overlay as root,
// a symbolic link, a kernel that lacks a member - gives no name: never a wrong one, and no error. Who rules the guest
// rules its file, and its users can have names missing: by many names of files that are not there, in /etc, or mounts
// that come and go. Two changes within one tick of the guest's clock that leave the file's size as it was look like
// one: the second is seen with the next.
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
  static constexpr uint64_t kMaxFile = 256 << 10;  // bytes; what is behind them has no name
  // How much longer than the last look for the file, or at all of it, the pause after it is: so a guest that makes both
  // necessary again and again costs a twentieth of the time at most. Meanwhile there is no name.
  static constexpr int kPause = 20;

  // kernel must outlive this.
  explicit Users(const Kernel& kernel, int pause = kPause);

  // Empty where it is not known. For an event, not for a hook that changes nothing: takes a lock, and may allocate.
  // Reads: some 40 values where nothing has changed since the last time. Else, after a pause, some for each
  // cached entry of / and /etc and each mount on the root, and the file; 110,000 twice for a guest that does its worst.
  // Threads: any.
  std::string name(uint32_t uid);

 private:
  struct Place {
    Gva mount, dentry;  // struct mount, struct dentry
    bool operator==(const Place&) const = default;
  };
  // Where a name led to the last time. It does still if the dentry is what it was, and no mount has changed.
  struct Step {
    Place directory;
    Gva child;
    Place place;
  };
  // The kernel's counters of renames and of changes to mounts: odd while one is under way.
  struct Sequences {
    uint32_t renames = 0, mounts = 0;
    bool operator==(const Sequences&) const = default;
  };
  // Which file, and which state of it.
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
  bool allowed_ = false, tried_ = false;  // of this refresh(): to look for the file, or at all of it; it has done so
  Step etc_, passwd_;
  std::optional<uint32_t> mounts_;  // Sequences::mounts when the steps were found; none: they do not count
  Version loaded_;                  // of what names_ are
  UserNames names_;
};

}  // namespace oboro::guest
