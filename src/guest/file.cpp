#include "guest/file.h"

#include <algorithm>
#include <fmt/format.h>

namespace oboro::guest {
namespace {

constexpr size_t kMaxDepth = 512;   // names in a path; the kernel has no bound, PATH_MAX allows 2048 one-letter ones
constexpr size_t kMaxMounts = 256;  // nested mounts
constexpr size_t kMaxMountsOfOne = 4096;
constexpr size_t kNameMax = 255;

// include/uapi/linux/magic.h
constexpr uint64_t kAnonInodeMagic = 0x09041934;
constexpr uint64_t kPipefsMagic = 0x50495045;
constexpr uint64_t kTmpfsMagic = 0x01021994;
constexpr uint64_t kRamfsMagic = 0x858458f6;
constexpr uint64_t kHugetlbfsMagic = 0x958458f6;

}  // namespace

std::string SuperBlock::type(Reader& r) const {
  return r.string(r.pointer(r.pointer(at, Field::super_block_type), Field::file_system_type_name), 32);
}

std::string SuperBlock::name(Reader& r) const {
  const auto uuid = r.get<std::array<uint8_t, 16>>(at, Field::super_block_uuid);
  if (uuid == std::array<uint8_t, 16>{}) return device_name(r);
  std::string text;
  for (size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    fmt::format_to(std::back_inserter(text), "{:02x}", uuid[i]);
  }
  return text;
}

std::string SuperBlock::device_name(Reader& r) const {
  const uint32_t device = dev(r);  // kernel-internal dev_t: 12 bits major, 20 bits minor
  return fmt::format("dev {}:{}", device >> 20, device & 0xfffff);
}

bool SuperBlock::is_pipefs(Reader& r) const { return magic(r) == kPipefsMagic; }

bool SuperBlock::holds_data(Reader& r) const { return magic(r) != kAnonInodeMagic; }

bool SuperBlock::is_volatile(Reader& r) const {
  const uint64_t number = magic(r);
  return number == kTmpfsMagic || number == kRamfsMagic || number == kHugetlbfsMagic;
}

FileIdentity Inode::identity(Reader& r) const {
  FileIdentity identity;
  const SuperBlock sb = super_block(r);
  // tmpfs makes up a UUID at each mount (since 6.6). Its files end with the boot all the same.
  if (!sb.is_volatile(r)) identity.uuid = r.get<std::array<uint8_t, 16>>(sb.at, Field::super_block_uuid);
  if (!identity.persistent()) identity.dev = sb.dev(r);
  identity.inode = number(r);
  identity.generation = generation(r);
  return identity;
}

Dentry Inode::any_name(Reader& r) const {
  const Gva first = r.pointer(at, Field::inode_dentries);
  return {first ? first - r.profile()[Field::dentry_alias] : Gva()};
}

std::string Dentry::true_path(Reader& r) const {
  PathBuffer buffer;
  buffer.assign_true_path(r, *this);
  return std::string(buffer.view());
}

void PathBuffer::clear() {
  start_ = kMaxPath;
  truncated_ = false;
}

void PathBuffer::prepend(const char* text, size_t size) {
  if (size > start_) {
    text += size - start_;
    size = start_;
    truncated_ = true;
  }
  start_ -= size;
  std::memcpy(data_ + start_, text, size);
}

bool PathBuffer::prepend_names(Reader& r, Gva dentry, Gva stop) {
  for (size_t depth = 0; depth < kMaxDepth; ++depth) {
    if (!dentry) return false;
    if (dentry == stop) return true;
    const Gva parent = r.pointer(dentry, Field::dentry_parent);
    const bool root = parent == dentry;
    const size_t length = std::min<size_t>(r.get<uint32_t>(dentry, Field::dentry_name_len), kNameMax);
    char name[kNameMax + 1];
    name[0] = '/';
    if (!r.bytes(r.pointer(dentry, Field::dentry_name), name + 1, length)) return false;
    // The root of a file system is called "/"; a file without any directory (memfd, SysV shm) is a root with a name.
    if (root) {
      if (length > 0 && name[1] != '/') prepend(name, length + 1);
      return true;
    }
    prepend(name, length + 1);
    dentry = parent;
  }
  r.fail();
  return false;
}

// Walks up from a struct mount, adding the names of its mount points.
bool PathBuffer::prepend_mounts(Reader& r, Gva mount) {
  for (size_t depth = 0; depth < kMaxMounts; ++depth) {
    const Gva parent = r.pointer(mount, Field::mount_parent);
    if (!parent || parent == mount) return static_cast<bool>(parent);
    const Gva stop = r.pointer(parent, Field::mount_mnt_root);
    if (!prepend_names(r, r.pointer(mount, Field::mount_mountpoint), stop)) return false;
    mount = parent;
  }
  r.fail();
  return false;
}

Gva main_mount(Reader& r, SuperBlock super_block) {
  const Profile& p = r.profile();
  const Gva sb = super_block.at;
  const Gva root = r.pointer(sb, Field::super_block_root);
  const Gva init_ns = r.pointer(r.kernel().symbol(Symbol::init_nsproxy), Field::nsproxy_mnt_ns);
  const bool list = p.has(Field::mount_instance);  // a list_head ring up to 6.17, a chain of mounts since
  const Gva head = sb + p[Field::super_block_mounts];
  Gva link = Gva(r.at<uint64_t>(head));
  Gva fallback;
  for (size_t i = 0; link && i < kMaxMountsOfOne; ++i) {
    if (list && link == head) break;
    const Gva mount = list ? link - p[Field::mount_instance] : link;
    if (r.pointer(mount, Field::mount_mnt_root) == root) {
      if (r.pointer(mount, Field::mount_ns) == init_ns) return mount;
      if (!fallback) fallback = mount;
    }
    link = list ? Gva(r.at<uint64_t>(link)) : r.pointer(mount, Field::mount_next_for_sb);
  }
  return fallback;
}

bool PathBuffer::assign_true_path(Reader& r, Dentry dentry) {
  clear();
  if (!prepend_names(r, dentry.at, Gva())) return false;
  const Gva mount = main_mount(r, {r.pointer(dentry.at, Field::dentry_sb)});
  if (mount && !prepend_mounts(r, mount)) return false;
  if (start_ == kMaxPath) prepend("/", 1);
  return true;
}

bool PathBuffer::assign_mounted_path(Reader& r, File file) {
  clear();
  const Gva mnt = r.pointer(file.at, Field::file_path_mnt);
  if (!mnt) return false;
  const Gva mount = mnt - r.profile()[Field::mount_mnt];
  if (mount == main_mount(r, {r.pointer(r.pointer(file.at, Field::file_path_dentry), Field::dentry_sb)})) return false;
  if (!prepend_names(r, r.pointer(file.at, Field::file_path_dentry), r.pointer(mount, Field::mount_mnt_root)))
    return false;
  if (!prepend_mounts(r, mount)) return false;
  if (start_ == kMaxPath) prepend("/", 1);
  return true;
}

}  // namespace oboro::guest
