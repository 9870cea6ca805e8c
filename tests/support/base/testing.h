// Support for tests.
#pragma once

#include <sched.h>
#include <stdlib.h>
#include <string>
#include <sys/mount.h>
#include <unistd.h>

namespace oboro::testing {

// A small file system in memory, which only this process sees; only who may mount can have one.
class SmallDisk {
 public:
  // options: of mount -t tmpfs.
  explicit SmallDisk(const char* options) {
    static const bool alone =
        unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    char path[] = "/tmp/oboro-disk-XXXXXX";
    if (!mkdtemp(path)) return;
    path_ = path;
    mounted_ = alone && mount("tmpfs", path, "tmpfs", 0, options) == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
    if (!path_.empty()) rmdir(path_.c_str());
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

}  // namespace oboro::testing
