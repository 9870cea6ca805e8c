// From disks as the user names them to the files that QEMU is to open, with nothing left for QEMU to guess or to
// follow.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "disk/option.h"

namespace oboro::disk {

// A file that was looked at, with its absolute path without links.
struct File {
  std::string path;
  bool block_device = false;
};

struct ResolvedImage {
  File file;
  Format format = Format::raw;
  std::optional<File> data{};
};

// In the order of Disk::images. A raw image is the last one. A qcow2 image has a header that names a backing file if
// and only if another image follows, and a data file if and only if `data` is there. The names in the header do not
// count.
using ResolvedDisk = std::vector<ResolvedImage>;

// The format of a disk is what the user says; else what it was when this state directory saw the disk first; else what
// the disk looks like. From then on it is remembered. state_directory: it exists, and this process has its lock. After
// an error nothing is remembered. Errors: invalid (what is wrong with which disk, and what to do), unsupported,
// not_found, limit, io.
Result<std::vector<ResolvedDisk>> resolve(const std::vector<Disk>& disks, const std::string& state_directory);

}  // namespace oboro::disk
