// What a path argument means: whether it is hidden, and where it starts from.

#include <cerrno>
#include <charconv>
#include <climits>
#include <fcntl.h>
#include <memory>

#include "guest/file.h"
#include "hiding/calls.h"

namespace oboro::hiding {

using guest::Field;

namespace {

// "/a/./b//../c" is "/a/c". Links are not looked at: a hidden path is one by its text.
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

// The directory that a relative path starts from; empty if it is none. ours: it is hidden, the kernel is elsewhere.
std::string base_of(Thread& thread, int directory, bool& ours) {
  guest::Reader r(thread.kernel());
  if (directory == AT_FDCWD) {
    std::string here = thread.directory->get();
    ours = !here.empty();
    if (ours) return here;
    const Gva pwd = r.pointer(thread.task().at, Field::task_fs) + thread.kernel().profile()[Field::fs_struct_pwd];
    return guest_path(thread, r.pointer(pwd, Field::path_dentry));
  }
  if (const auto file = thread.descriptors->find(static_cast<uint32_t>(directory))) {
    ours = true;
    return file->path;
  }
  const Gva table = r.pointer(thread.files, Field::files_struct_fdt);
  if (static_cast<uint32_t>(directory) >= r.get<uint32_t>(table, Field::fdtable_max_fds)) return {};
  const Gva file(r.at<uint64_t>(r.pointer(table, Field::fdtable_fd) + uint64_t{static_cast<uint32_t>(directory)} * 8));
  return file ? guest_path(thread, r.pointer(file, Field::file_path_dentry)) : std::string();
}

// "/proc/self/fd/7" and "/dev/fd/7": the C library goes that way where a call takes no descriptor.
std::shared_ptr<OpenFile> file_of_link(Thread& thread, std::string_view path) {
  for (const std::string_view directory : {"/proc/self/fd/", "/dev/fd/", "/proc/thread-self/fd/"}) {
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

Routine<PathArgument> path_argument(Thread& thread, int directory, uint64_t user) {
  PathArgument out;
  std::string text;
  out.error = co_await thread.copy_string(user, text);
  if (out.error) co_return out;
  if (text.empty()) {
    out.empty = true;
    co_return out;
  }
  bool ours = false;
  if (text[0] != '/') {
    const std::string base = base_of(thread, directory, ours);
    // The kernel says what is wrong with that descriptor, unless it is one of ours.
    out.nowhere = base.empty();
    if (out.nowhere) co_return out;
    text = base + "/" + text;
  }
  const bool directory_wanted = text.ends_with('/');
  const std::string_view end = std::string_view(text).substr(0, text.find_last_not_of('/') + 1);
  out.dots = end.ends_with("/..") ? 2 : end.ends_with("/.") ? 1 : 0;
  out.path = normal(text);
  if (const auto file = file_of_link(thread, out.path)) out.path = file->path;
  out.hidden = thread.service().hides(out.path);
  if (out.hidden && directory_wanted) out.path += '/';
  if (out.path.size() >= PATH_MAX) out.error = -ENAMETOOLONG;
  // "../../file" out of a hidden directory, which the kernel does not know.
  if (!out.hidden && ours) out.error = refuse(thread, out.path, "relative path out of a hidden directory", -ENOENT);
  co_return out;
}

}  // namespace oboro::hiding
