#include "proxy/disk_quota.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <string>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/io_error.h"

namespace oboro::proxy {
namespace {

constexpr uint64_t rounded(uint64_t bytes) {
  constexpr uint64_t kLast = DiskQuota::kBlock - 1;
  return (bytes > UINT64_MAX - kLast ? UINT64_MAX : bytes + kLast) & ~kLast;
}
uint64_t allocated(const struct statx& status) { return status.stx_blocks * 512; }

UniqueFd open_at(int directory, const char* name, uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | O_NOFOLLOW;
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, directory, name, &how, sizeof how)));
}

// The names in a directory. False: errno says why not.
bool names_in(int directory, std::vector<std::string>& names) {
  std::array<char, 32768> room;
  for (;;) {
    const long got = syscall(SYS_getdents64, directory, room.data(), room.size());
    if (got <= 0) return got == 0;
    for (long at = 0; at < got;) {
      const char* entry = room.data() + at;  // struct linux_dirent64
      uint16_t size = 0;
      std::memcpy(&size, entry + 16, sizeof size);
      const char* name = entry + 19;
      if (std::strcmp(name, ".") != 0 && std::strcmp(name, "..") != 0) names.emplace_back(name);
      at += size;
    }
  }
}

}  // namespace

class DiskQuota::Token {
 public:
  Token(std::shared_ptr<DiskQuota> quota, uint64_t key) : quota_(std::move(quota)), key_(key) {}
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;
  ~Token() { quota_->closed(key_); }

 private:
  const std::shared_ptr<DiskQuota> quota_;
  const uint64_t key_;
};

DiskQuota::Room::Room(Room&& other) noexcept
    : quota_(std::exchange(other.quota_, nullptr)), bytes_(other.bytes_), size_(other.size_), there_(other.there_) {}

DiskQuota::Room::~Room() {
  if (!quota_) return;
  const std::lock_guard lock(quota_->mutex_);
  quota_->reserved_ -= bytes_;
}

bool DiskQuota::look(int fd, const char* name, int flags, struct statx& status) {
  return statx(fd, name, flags, STATX_TYPE | STATX_INO | STATX_SIZE | STATX_BLOCKS | STATX_NLINK, &status) == 0;
}

uint64_t DiskQuota::key_of(const struct statx& status) {
  const uint64_t device = uint64_t{status.stx_dev_major} << 32 | status.stx_dev_minor;
  return status.stx_ino + device * 0x9e3779b97f4a7c15;
}

uint64_t DiskQuota::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

// The lock is held.
uint64_t DiskQuota::left() const { return most_ - std::min(most_, used_ + reserved_); }

// The lock is held.
void DiskQuota::set(const struct statx& status, bool grown) {
  const uint64_t key = key_of(status);
  const auto open = open_.find(key);
  if (status.stx_nlink == 0) {
    if (open == open_.end()) return take_out(key);
    open->second.nameless = true;
  }
  uint64_t& bytes = files_[key];
  uint64_t now = std::max(kPerFile, allocated(status));
  if (grown) now = std::min(now, std::max({kPerFile, rounded(status.stx_size), bytes}));
  used_ += now - bytes;  // modulo 2^64 if it is less
  bytes = now;
}

// The lock is held.
void DiskQuota::take_out(uint64_t key) {
  const auto found = files_.find(key);
  if (found == files_.end()) return;
  used_ -= found->second;
  files_.erase(found);
}

DiskQuota::Room DiskQuota::for_file() {
  if (!on()) return {nullptr, 0, 0};
  constexpr uint64_t kBytes = kPerFile + kBlock;  // and a block of its directory
  const std::lock_guard lock(mutex_);
  if (kBytes > left() || files_.size() >= most_files_) return {};
  reserved_ += kBytes;
  return {this, kBytes, 0};
}

DiskQuota::Room DiskQuota::for_bytes(int fd, int64_t offset, uint64_t size) {
  if (!on()) return {nullptr, 0, size};
  const std::lock_guard lock(mutex_);
  const uint64_t worst = rounded(size) + kBlock;
  if (worst >= size && worst <= left()) {
    reserved_ += worst;
    return {this, worst, size};
  }
  // There is little room, so it matters which blocks are there already.
  struct statx status {};
  if (!look(fd, "", AT_EMPTY_PATH, status)) return {};
  uint64_t from = static_cast<uint64_t>(offset);
  if (offset < 0) {
    const int flags = fcntl(fd, F_GETFL);
    const off_t at = lseek(fd, 0, SEEK_CUR);
    if (flags < 0 || at < 0) return {};
    from = flags & O_APPEND ? status.stx_size : static_cast<uint64_t>(at);
  }
  // Up to here nothing is to be added. Of a file with holes that is not known.
  uint64_t there = allocated(status) >= rounded(status.stx_size) ? rounded(status.stx_size) : 0;
  if (status.stx_size <= kPerFile) there = std::max(there, kPerFile);  // which it counts in any case
  const uint64_t first = std::max(from, there) & ~(kBlock - 1);
  const uint64_t room = left() & ~(kBlock - 1);
  const uint64_t end = room > UINT64_MAX - first ? UINT64_MAX : first + room;  // of what fits
  if (end <= from && size > 0) return {};
  const uint64_t fits = std::min(size, end - from);
  const uint64_t bytes = from + fits > first ? rounded(from + fits) - first : 0;
  reserved_ += bytes;
  return {this, bytes, fits};
}

void DiskQuota::changed(int fd, bool grown) {
  if (!on()) return;
  const std::lock_guard lock(mutex_);
  struct statx status {};
  if (look(fd, "", AT_EMPTY_PATH, status)) set(status, grown);
}

void DiskQuota::changed(int directory, const char* name) {
  if (!on()) return;
  const std::lock_guard lock(mutex_);
  struct statx status {};
  if (look(directory, name, AT_SYMLINK_NOFOLLOW, status)) set(status, false);
}

UniqueFd DiskQuota::hold(int directory, const char* name) const {
  return on() ? open_at(directory, name, O_PATH) : UniqueFd();
}

void DiskQuota::gone(const UniqueFd& file) {
  if (file) changed(file.get(), true);
}

std::shared_ptr<const void> DiskQuota::opened(int fd, bool emptied) {
  if (!on()) return nullptr;
  const std::lock_guard lock(mutex_);
  struct statx status {};
  if (!look(fd, "", AT_EMPTY_PATH, status)) return nullptr;
  const uint64_t key = key_of(status);
  ++open_[key].count;
  set(status, !emptied && files_.count(key));
  return std::make_shared<const Token>(shared_from_this(), key);
}

void DiskQuota::closed(uint64_t key) {
  const std::lock_guard lock(mutex_);
  const auto found = open_.find(key);
  if (found == open_.end() || --found->second.count > 0) return;
  if (found->second.nameless) take_out(key);
  open_.erase(found);
}

void DiskQuota::cut(struct statfs& status) const {
  if (!on() || status.f_bsize <= 0) return;
  const std::lock_guard lock(mutex_);
  const auto size = static_cast<uint64_t>(status.f_bsize);
  status.f_blocks = std::min<uint64_t>(status.f_blocks, most_ / size);
  status.f_bfree = std::min<uint64_t>(status.f_bfree, left() / size);
  status.f_bavail = std::min<uint64_t>(status.f_bavail, left() / size);
}

Result<void> DiskQuota::count_entry(int directory, const char* name, bool& is_directory) {
  struct statx status {};
  is_directory = false;
  if (!look(directory, name, AT_SYMLINK_NOFOLLOW, status))
    return errno == ENOENT ? Result<void>() : io_error("max_disk: a file of the service");
  const std::lock_guard lock(mutex_);
  if (files_.size() >= most_files_)
    return Error{Errc::limit, fmt::format("max_disk: there are more than {} files; more max_memory lets it count more",
                                          most_files_)};
  set(status, false);
  is_directory = S_ISDIR(status.stx_mode);
  return {};
}

// However deep the directories are, one or two are open at a time: ".." leads back, and what is still to be done at
// each depth is remembered by name. Nobody else is at work there yet.
Result<void> DiskQuota::count(int root) {
  if (!on()) return {};
  bool is_directory = false;
  if (auto counted = count_entry(root, ".", is_directory); !counted) return counted;
  UniqueFd here = open_at(root, ".", O_RDONLY | O_DIRECTORY);
  struct Depth {
    std::vector<std::string> directories;  // to be looked into
    int mode;                              // to be set again when this one is left; -1: none
  };
  std::vector<Depth> to_do;
  int mode = -1;
  for (bool entered = true;;) {
    if (!here) return io_error("max_disk: a directory of the service");
    if (entered) {
      std::vector<std::string> names;
      if (!names_in(here.get(), names)) return io_error("max_disk: a directory of the service");
      Depth& depth = to_do.emplace_back(Depth{{}, mode});
      for (std::string& name : names) {
        if (auto counted = count_entry(here.get(), name.c_str(), is_directory); !counted) return counted;
        if (is_directory) depth.directories.push_back(std::move(name));
      }
    }
    std::vector<std::string>& left_here = to_do.back().directories;
    if (left_here.empty()) {
      UniqueFd above = to_do.size() > 1 ? open_at(here.get(), "..", O_RDONLY | O_DIRECTORY) : UniqueFd();
      if (to_do.back().mode >= 0) (void)fchmod(here.get(), static_cast<mode_t>(to_do.back().mode));
      to_do.pop_back();
      if (to_do.empty()) return {};
      here = std::move(above);
      entered = false;
      continue;
    }
    const std::string name = std::move(left_here.back());
    left_here.pop_back();
    mode = -1;
    UniqueFd next = open_at(here.get(), name.c_str(), O_RDONLY | O_DIRECTORY);
    struct stat status {};
    // The service may have closed it to itself; the way back leads through it.
    if (!next && errno == EACCES && fstatat(here.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        fchmodat(here.get(), name.c_str(), (status.st_mode & 07777) | S_IRWXU, 0) == 0) {
      mode = static_cast<int>(status.st_mode & 07777);
      next = open_at(here.get(), name.c_str(), O_RDONLY | O_DIRECTORY);
    }
    here = std::move(next);
    entered = true;
  }
}

}  // namespace oboro::proxy
