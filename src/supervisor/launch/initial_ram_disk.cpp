#include "supervisor/launch/initial_ram_disk.h"

#include <algorithm>
#include <archive.h>
#include <archive_entry.h>
#include <array>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "base/io_error.h"
#include "proxy/init.h"

namespace oboro::supervisor {
namespace {

// The name that modprobe takes: "kernel/drivers/net/virtio_net.ko.xz" is virtio_net. - and _ count as the same.
std::string module_name(std::string_view path) {
  std::string name(path.substr(path.rfind('/') + 1));
  name.resize(std::min(name.size(), name.find(".ko")));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class Archive {
 public:
  explicit Archive(int fd) : archive_(archive_write_new(), archive_write_free) {
    archive_write_set_format_cpio_newc(archive_.get());
    ok_ = archive_write_open_fd(archive_.get(), fd) == ARCHIVE_OK;
  }
  void add(const std::string& path, mode_t type, mode_t mode, std::string_view content = {}) {
    const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(), archive_entry_free);
    archive_entry_set_pathname(entry.get(), path.c_str() + (path.starts_with('/') ? 1 : 0));
    archive_entry_set_filetype(entry.get(), type);
    archive_entry_set_perm(entry.get(), mode);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(content.size()));
    archive_entry_set_nlink(entry.get(), 1);
    if (type == S_IFCHR) archive_entry_set_rdev(entry.get(), makedev(5, 1));  // the console
    ok_ = ok_ && archive_write_header(archive_.get(), entry.get()) == ARCHIVE_OK &&
          archive_write_data(archive_.get(), content.data(), content.size()) == static_cast<la_ssize_t>(content.size());
  }
  Result<void> close() {
    if (ok_ && archive_write_close(archive_.get()) == ARCHIVE_OK) return {};
    const char* why = archive_error_string(archive_.get());
    return Error{Errc::io, fmt::format("initial RAM disk: {}", why ? why : "out of memory")};
  }

 private:
  std::unique_ptr<archive, decltype(&archive_write_free)> archive_;
  bool ok_ = false;
};

Result<std::string> content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content(std::istreambuf_iterator<char>(file), {});
  if (!file.good() && !file.eof()) return io_error(path);
  return content;
}

}  // namespace

Result<std::string> kernel_release(const std::string& image) {
  constexpr size_t kMagicAt = 0x202, kPointerAt = 0x20e, kSetup = 0x200, kLongest = 256;
  std::ifstream file(image, std::ios::binary);
  std::array<char, 0x210> header{};
  if (!file.read(header.data(), header.size())) return Error{Errc::invalid, image + ": is no kernel image"};
  uint16_t at = 0;
  std::memcpy(&at, &header[kPointerAt], sizeof at);
  std::array<char, kLongest> text{};
  if (std::memcmp(&header[kMagicAt], "HdrS", 4) != 0 || at == 0 || !file.seekg(kSetup + at) ||
      !file.read(text.data(), text.size()))
    return Error{Errc::invalid, image + ": is no x86 kernel image (bzImage)"};
  const std::string_view release(text.data(), std::min<size_t>(strnlen(text.data(), text.size()), kLongest));
  return std::string(release.substr(0, release.find(' ')));
}

Result<std::vector<std::string>> modules_in_order(const std::string& directory, const std::vector<std::string>& wanted,
                                                  const std::vector<std::string>& welcome) {
  std::map<std::string, std::string, std::less<>> lines;  // of modules.dep: "path: what it needs, last first"
  std::ifstream dependencies(directory + "/modules.dep"), built_in(directory + "/modules.builtin");
  if (!dependencies)
    return Error{Errc::not_found, directory + "/modules.dep: there is none; these are no kernel modules"};
  for (std::string line; std::getline(dependencies, line);) {
    const size_t colon = line.find(':');
    if (colon != std::string::npos) lines[module_name(line.substr(0, colon))] = line;
  }
  std::vector<std::string> inside;
  for (std::string line; std::getline(built_in, line);) inside.push_back(module_name(line));

  std::vector<std::string> order;
  const auto add = [&](const std::string& name) {
    const auto found = lines.find(name);
    if (found == lines.end()) return std::find(inside.begin(), inside.end(), name) != inside.end();
    const std::string& line = found->second;
    const size_t colon = line.find(':');
    std::vector<std::string> paths = {line.substr(0, colon)};
    for (size_t at = colon + 1; (at = line.find_first_not_of(' ', at)) != std::string::npos;) {
      const size_t end = std::min(line.find(' ', at), line.size());
      paths.push_back(line.substr(at, end - at));
      at = end;
    }
    for (auto path = paths.rbegin(); path != paths.rend(); ++path)
      if (std::string whole = directory + "/" + *path; std::find(order.begin(), order.end(), whole) == order.end())
        order.push_back(std::move(whole));
    return true;
  };
  for (const std::string& name : welcome) (void)add(name);
  for (const std::string& name : wanted)
    if (!add(name)) return Error{Errc::not_found, fmt::format("{}: there is no module {}", directory, name)};
  return order;
}

Result<UniqueFd> initial_ram_disk(const std::string& program, const std::vector<std::string>& modules,
                                  const std::vector<std::pair<std::string, std::string>>& texts) {
  UniqueFd file(memfd_create("oboro-initrd", MFD_CLOEXEC));
  if (!file) return io_error("initial RAM disk");
  Archive archive(file.get());
  for (const char* directory : {"/dev", "/proc", "/oboro", "/modules"}) archive.add(directory, S_IFDIR, 0755);
  archive.add("/dev/console", S_IFCHR, 0600);
  Result<std::string> init = content_of(program);
  if (!init) return init.error();
  archive.add("/init", S_IFREG, 0755, *init);
  std::string order;
  for (const std::string& path : modules) {
    Result<std::string> module = content_of(path);
    if (!module) return module.error();
    const std::string inside = "/modules" + path.substr(path.rfind('/'));
    archive.add(inside, S_IFREG, 0644, *module);
    order += inside + "\n";
  }
  archive.add(proxy::kModulesFile, S_IFREG, 0644, order);
  for (const auto& [path, text] : texts) archive.add(path, S_IFREG, 0644, text);
  if (auto closed = archive.close(); !closed) return closed.error();
  return file;
}

}  // namespace oboro::supervisor
