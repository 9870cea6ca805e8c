#include "guest/users.h"

#include <algorithm>
#include <atomic>

#include "guest/page_cache.h"
#include "guest/task.h"

namespace oboro::guest {
namespace {

constexpr unsigned kAttempts = 2;
constexpr size_t kMaxStacked = 4;  // mounts on one place
constexpr uint64_t kWriter = 1;    // RWSEM_WRITER_LOCKED

// Whether a look-up of `name` in `directory` finds the dentry. A dentry that was renamed, replaced or freed has another
// name or parent, or is in no hash chain.
bool is_child(Reader& r, Gva dentry, Gva directory, std::string_view name) {
  if (r.get<uint32_t>(dentry, Field::dentry_name_len) != name.size()) return false;
  char found[16];
  if (name.size() > sizeof found || !r.bytes(r.pointer(dentry, Field::dentry_name), found, name.size())) return false;
  return std::string_view(found, name.size()) == name && r.pointer(dentry, Field::dentry_parent) == directory &&
         r.pointer(dentry, Field::dentry_hash);
}

bool is_being_written(Reader& r, Inode file) { return r.get<uint64_t>(file.at, Field::inode_rwsem) & kWriter; }

// Reads before this are older than reads after it.
void order_reads() { std::atomic_thread_fence(std::memory_order_acquire); }

}  // namespace

Users::Users(const Kernel& kernel, int pause) : kernel_(kernel), pause_(pause) {
  const Profile& p = kernel.profile();
  const bool children = (p.has(Field::dentry_children) && p.has(Field::dentry_sib)) ||
                        (p.has(Field::dentry_subdirs) && p.has(Field::dentry_child));
  supported_ = children && p.has(Field::fs_struct_root) && p.has(Field::mount_mounts) && p.has(Field::mount_child);
}

std::string Users::name(uint32_t uid) {
  if (!supported_ || uid == UINT32_MAX) return {};
  const std::lock_guard lock(mutex_);
  if (!refresh()) return {};
  const auto found = names_.find(uid);
  return found != names_.end() ? found->second : std::string();
}

bool Users::may_try() {
  tried_ = tried_ || allowed_;
  return allowed_;
}

bool Users::refresh() {
  const Clock::time_point now = Clock::now();
  allowed_ = now >= next_try_;
  tried_ = false;
  bool found = false;
  for (unsigned attempt = 0; attempt < kAttempts && !found; ++attempt) {
    Reader r(kernel_);
    const Sequences before = sequences(r);
    order_reads();
    if (mounts_ != before.mounts) etc_ = passwd_ = {};
    mounts_.reset();
    found = refresh_once(r);
    order_reads();
    const Sequences after = sequences(r);
    found = found && !r.failed() && after.mounts == before.mounts && before.mounts % 2 == 0;
    if (after.mounts == before.mounts && before.mounts % 2 == 0 && kernel_.profile().has(Symbol::mount_lock))
      mounts_ = before.mounts;
    if (after == before && before.renames % 2 == 0 && before.mounts % 2 == 0)
      break;  // a further try would end the same way
  }
  if (tried_) {
    const Clock::time_point end = Clock::now();
    next_try_ = end + pause_ * (end - now);
  }
  return found;
}

bool Users::refresh_once(Reader& r) {
  const Place top = root(r);
  const Place etc = top.dentry ? look_up(r, etc_, top, "etc") : Place();
  const Place passwd = etc.dentry ? look_up(r, passwd_, etc, "passwd") : Place();
  const Inode file = passwd.dentry ? Dentry{passwd.dentry}.inode(r) : Inode();
  if (!file.at || r.failed()) return false;
  const Version now = version(r, file);
  if (r.failed() || (now != loaded_ && !load(r, now))) return false;
  // Renames go on elsewhere all the time. It matters only that the names led there before and after.
  order_reads();
  return is_child(r, etc_.child, top.dentry, "etc") && is_child(r, passwd_.child, etc.dentry, "passwd");
}

Users::Sequences Users::sequences(Reader& r) const {
  const auto counter = [&](Symbol symbol) {
    return kernel_.profile().has(symbol) ? r.at<uint32_t>(kernel_.symbol(symbol)) : 0;
  };
  return {counter(Symbol::rename_lock), counter(Symbol::mount_lock)};
}

// The root directory of the first process, which follows init_task in the list for as long as the guest runs.
Users::Place Users::root(Reader& r) const {
  const Profile& p = kernel_.profile();
  const uint32_t link = p[Field::task_tasks];
  const Task first{Gva(r.at<uint64_t>(kernel_.symbol(Symbol::init_task) + link)) - link};
  if (first.tgid(r) != 1) return {};
  const Gva path = r.pointer(first.at, Field::task_fs) + p[Field::fs_struct_root];
  const Gva mnt = r.pointer(path, Field::path_mnt);
  if (!mnt) return {};
  return {mnt - p[Field::mount_mnt], r.pointer(path, Field::path_dentry)};
}

Users::Place Users::look_up(Reader& r, Step& step, Place directory, std::string_view name) {
  if (step.child && step.directory == directory && is_child(r, step.child, directory.dentry, name)) return step.place;
  step = {};
  if (!may_try()) return {};
  const Gva child = find_child(r, directory.dentry, name);
  if (!child) return {};
  const Place place = topmost(r, {directory.mount, child});
  if (!r.failed()) step = {directory, child, place};
  return place;
}

Gva Users::find_child(Reader& r, Gva directory, std::string_view name) const {
  const Profile& p = kernel_.profile();
  const bool chain = p.has(Field::dentry_children);
  const Gva head = directory + p[chain ? Field::dentry_children : Field::dentry_subdirs];
  const uint32_t in_dentry = p[chain ? Field::dentry_sib : Field::dentry_child];
  Gva link(r.at<uint64_t>(head));
  for (size_t i = 0; link && link != head && i < kMaxChildren && !r.failed(); ++i) {
    if (is_child(r, link - in_dentry, directory, name)) return link - in_dentry;
    link = Gva(r.at<uint64_t>(link));
  }
  return {};
}

Users::Place Users::topmost(Reader& r, Place place) const {
  for (size_t i = 0; i < kMaxStacked; ++i) {
    const Gva over = mounted_at(r, place);
    if (!over) return place;
    place = {over, r.pointer(over, Field::mount_mnt_root)};
  }
  r.fail();
  return {};
}

Gva Users::mounted_at(Reader& r, Place place) const {
  const Profile& p = kernel_.profile();
  const Gva head = place.mount + p[Field::mount_mounts];
  Gva link(r.at<uint64_t>(head));
  for (size_t i = 0; link && i < kMaxMounts && !r.failed(); ++i) {
    if (link == head) return {};
    const Gva mount = link - p[Field::mount_child];
    if (r.pointer(mount, Field::mount_mountpoint) == place.dentry) return mount;
    link = Gva(r.at<uint64_t>(link));
  }
  r.fail();  // a lock that is not known to be free may be held
  return {};
}

Users::Version Users::version(Reader& r, Inode file) const {
  return {file.at,
          file.number(r),
          r.get<uint64_t>(file.at, Field::inode_size),
          r.get<uint64_t>(file.at, Field::inode_mtime),
          r.get<uint64_t>(file.at, Field::inode_ctime),
          r.get<uint32_t>(file.at, Field::inode_mtime_nsec),
          r.get<uint32_t>(file.at, Field::inode_ctime_nsec)};
}

// A writer holds the inode's lock, and sets the times before it writes. So bytes that are read between two looks, at
// which nobody held the lock and the times were the same, are all old or all new.
bool Users::load(Reader& r, const Version& file) {
  if (!may_try()) return false;
  const Inode inode{file.inode};
  loaded_ = {};
  names_.clear();
  if (inode.type(r) != FileType::regular || is_being_written(r, inode)) return false;
  std::string text(std::min(file.size, kMaxFile), '\0');
  if (!read_cached(r, inode, 0, std::as_writable_bytes(std::span(text)))) return false;
  order_reads();
  if (version(r, inode) != file || is_being_written(r, inode) || r.failed()) return false;
  names_ = parse_passwd(text);
  loaded_ = file;
  return true;
}

}  // namespace oboro::guest
