#include "disk/resolve.h"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io_error.h"
#include "disk/formats.h"
#include "disk/qcow2.h"

namespace oboro::disk {
namespace {

// start: gets the beginning of the file, unless it is null.
Result<File> look(const std::string& name, std::string* start) {
  const std::unique_ptr<char, void (*)(void*)> real(realpath(name.c_str(), nullptr), std::free);
  if (!real) return io_error("disk " + name);
  const UniqueFd fd(open(real.get(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd || fstat(fd.get(), &info) != 0) return io_error("disk " + name);
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode))
    return Error{Errc::invalid, fmt::format("disk {}: is neither a file nor a block device", name)};
  if (start) {
    start->resize(kMaxQcow2Header);
    size_t used = 0;
    while (used < start->size()) {
      const ssize_t n = pread(fd.get(), start->data() + used, start->size() - used, static_cast<off_t>(used));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return io_error("disk " + name);
      if (n == 0) break;
      used += static_cast<size_t>(n);
    }
    start->resize(used);
    if (used == 0) return Error{Errc::invalid, fmt::format("disk {}: is empty", name)};
  }
  return File{real.get(), S_ISBLK(info.st_mode)};
}

Error refuse(const Image& image, const std::string& why) {
  return {Errc::invalid, fmt::format("disk {}: {}", image.file, why)};
}

// Decides the format of a disk's first image.
Result<Format> decide(const Image& image, std::optional<Format> remembered, std::string_view start) {
  if (image.format) return *image.format;
  const Format looks = looks_like_qcow2(start) ? Format::qcow2 : Format::raw;
  if (!remembered || *remembered == looks) return looks;
  if (looks == Format::qcow2)
    return refuse(image,
                  "it was raw in earlier runs and begins like a qcow2 image now. The guest can have written that, to "
                  "be shown other files of this host. If it is the disk of before, give --disk FILE,format=raw; if you "
                  "have put a qcow2 image there, give format=qcow2");
  return refuse(image,
                "it was qcow2 in earlier runs and does not begin like a qcow2 image now. If you have put a raw image "
                "there, give --disk FILE,format=raw");
}

// Compares the header of a qcow2 image with the files that the user has named.
Result<void> check_header(const Image& image, const Image* backing, std::string_view start, bool guessed) {
  const Result<Qcow2Header> header = parse_qcow2(start);
  const std::string advice =
      guessed ? ". If the disk is a raw one in which the guest has written this, give --disk FILE,format=raw" : "";
  if (!header)
    return Error{header.error().code, fmt::format("disk {}: {}{}", image.file, header.error().message, advice)};
  if (header->backing && !backing)
    return refuse(
        image, fmt::format("this qcow2 image names the backing file \"{}\"{}. What was not named by you is not "
                           "opened: if it belongs to the disk, give backing=PATH,backing-format=raw or "
                           "qcow2 behind it{}",
                           *header->backing, header->backing_format.empty() ? "" : " (" + header->backing_format + ")",
                           advice));
  if (header->data && image.data.empty())
    return refuse(image, fmt::format("this qcow2 image names the data file \"{}\". What was not named by you is not "
                                     "opened: if it belongs to the disk, give data=PATH behind it{}",
                                     *header->data, advice));
  if (!header->backing && backing)
    return refuse(image, fmt::format("it names no backing file, but backing={} was given", backing->file));
  if (!header->data && !image.data.empty())
    return refuse(image, fmt::format("it names no data file, but data={} was given", image.data));
  return {};
}

Result<ResolvedDisk> resolve(const Disk& disk, const Formats& formats) {
  ResolvedDisk resolved;
  for (size_t i = 0; i < disk.images.size(); ++i) {
    const Image& image = disk.images[i];
    std::string start;
    const Result<File> file = look(image.file, &start);
    if (!file) return file.error();
    const std::optional<Format> remembered = i == 0 ? formats.find(file->path) : std::nullopt;
    const Result<Format> format = decide(image, remembered, start);
    if (!format) return format.error();
    ResolvedImage& result = resolved.emplace_back(ResolvedImage{*file, *format});
    if (*format == Format::raw) continue;
    const Image* backing = i + 1 < disk.images.size() ? &disk.images[i + 1] : nullptr;
    if (auto ok = check_header(image, backing, start, !image.format && !remembered); !ok) return ok.error();
    if (image.data.empty()) continue;
    const Result<File> data = look(image.data, nullptr);
    if (!data) return data.error();
    result.data = *data;
  }
  return resolved;
}

}  // namespace

Result<std::vector<ResolvedDisk>> resolve(const std::vector<Disk>& disks, const std::string& state_directory) {
  std::vector<ResolvedDisk> resolved;
  if (disks.empty()) return resolved;
  Result<Formats> formats = Formats::load(state_directory);
  if (!formats) return formats.error();
  bool changed = false;
  for (const Disk& disk : disks) {
    Result<ResolvedDisk> one = resolve(disk, *formats);
    if (!one) return one.error();
    const Result<bool> set = formats->set(one->front().file.path, one->front().format);
    if (!set) return set.error();
    changed = changed || *set;
    resolved.push_back(std::move(*one));
  }
  if (changed)
    if (auto saved = formats->save(state_directory); !saved) return saved.error();
  return resolved;
}

}  // namespace oboro::disk
