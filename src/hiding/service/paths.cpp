// The meaning of a path argument: whether it is hidden, and where it starts.

#include <cerrno>
#include <charconv>
#include <climits>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>

#include "guest/file.h"
#include "hiding/calls/calls.h"

namespace oboro::hiding {

using guest::Field;

namespace {

// "/a/./b//../c" becomes "/a/c". Links are not looked at: a path is hidden by its text.
std::string normal(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      out.resize(out.empty() ? 0 : out.rfind('/'));
      continue;
    }
    out += '/';
    out += name;
  }
  return out.empty() ? "/" : out;
}

std::string guest_path(Thread& thread, Gva dentry) {
  guest::Reader r(thread.kernel());
  const auto buffer = std::make_unique<guest::PathBuffer>();
  if (!dentry || !buffer->assign_true_path(r, guest::Dentry{dentry}) || r.failed()) return {};
  return std::string(buffer->view());
}

// A directory of the process's own. field: a member of fs_struct.
std::string own_directory(Thread& thread, Field which) {
  guest::Reader r(thread.kernel());
  const Gva path = r.pointer(thread.task().at, Field::task_fs) + thread.kernel().profile()[which];
  return guest_path(thread, r.pointer(path, Field::path_dentry));
}

// The directory at which a relative path starts; empty if that is no directory. ours: it is hidden, and the kernel is
// elsewhere.
std::string base_of(Thread& thread, int directory, bool& ours) {
  if (directory == AT_FDCWD) {
    std::string here = thread.directory->get();
    ours = !here.empty();
    return ours ? here : own_directory(thread, Field::fs_struct_pwd);
  }
  if (const auto file = thread.descriptors->find(static_cast<uint32_t>(directory))) {
    ours = true;
    return file->path;
  }
  guest::Reader r(thread.kernel());
  const Gva table = r.pointer(thread.files, Field::files_struct_fdt);
  if (static_cast<uint32_t>(directory) >= r.get<uint32_t>(table, Field::fdtable_max_fds)) return {};
  const Gva file(r.at<uint64_t>(r.pointer(table, Field::fdtable_fd) + uint64_t{static_cast<uint32_t>(directory)} * 8));
  return file ? guest_path(thread, r.pointer(file, Field::file_path_dentry)) : std::string();
}

// "/proc/self/fd/7" and "/dev/fd/7". The C library uses these where a call takes no descriptor.
std::shared_ptr<OpenFile> file_of_link(Thread& thread, std::string_view path) {
  const std::string own = fmt::format("/proc/{}/fd/", thread.tgid());
  for (const std::string_view directory : {"/proc/self/fd/", "/dev/fd/", "/proc/thread-self/fd/", own.c_str()}) {
    if (!path.starts_with(directory)) continue;
    path.remove_prefix(directory.size());
    uint32_t number = 0;
    const auto read = std::from_chars(path.data(), path.data() + path.size(), number);
    if (read.ec != std::errc() || read.ptr != path.data() + path.size()) return nullptr;
    const auto file = thread.descriptors->find(number);
    return file && !file->is_socket ? file : nullptr;
  }
  return nullptr;
}

}  // namespace

std::string root_of(Thread& thread) {
  std::string root = own_directory(thread, Field::fs_struct_root);
  if (root == "/") root.clear();
  return root;
}

PathArgument path_of(Thread& thread, int directory, std::string text, Links links) {
  PathArgument out;
  if (text.empty()) {
    out.empty = true;
    return out;
  }
  bool ours = false;
  const std::string root = root_of(thread);
  std::string start;  // below the root
  if (text[0] != '/') {
    std::string base = base_of(thread, directory, ours);
    // If the descriptor is not ours, the kernel says what is wrong with it.
    out.nowhere = base.empty();
    if (out.nowhere) return out;
    const bool within = base.starts_with(root) && (base.size() == root.size() || base[root.size()] == '/');
    start = within ? base.substr(root.size()) : base;
    text = start + "/" + text;
    if (!within) out.path = normal(text);  // a directory from before chroot(2)
  }
  const bool directory_wanted = text.ends_with('/');
  const std::string_view end = std::string_view(text).substr(0, text.find_last_not_of('/') + 1);
  out.dots = end.ends_with("/..") ? 2 : end.ends_with("/.") ? 1 : 0;
  if (out.path.empty()) {
    const std::string below = normal(text);
    out.link = file_of_link(thread, below);
    out.path = below == "/" && !root.empty() ? root : root + below;
  }
  if (out.link && links == Links::followed) out.path = out.link->path;
  out.hidden = thread.service().hides(out.path);
  if (out.hidden && directory_wanted) out.path += '/';
  if (out.path.size() >= PATH_MAX) out.error = -ENAMETOOLONG;
  // "../../file" out of a hidden directory, which the kernel does not know.
  if (!out.hidden && ours) out.error = refuse(thread, out.path, "relative path out of a hidden directory", -ENOENT);
  return out;
}

Routine<PathArgument> path_argument(Thread& thread, int directory, uint64_t user, Links links) {
  std::string text;
  if (const int64_t error = co_await thread.copy_string(user, text)) {
    PathArgument wrong;
    wrong.error = error;
    co_return wrong;
  }
  co_return path_of(thread, directory, std::move(text), links);
}

}  // namespace oboro::hiding
