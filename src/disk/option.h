// A disk as the user names it, with --disk or in the configuration file:
//
//   FILE[,format=raw|qcow2][,data=PATH][,backing=PATH,backing-format=raw|qcow2[,data=PATH]]...
//
// backing is the backing file of the image before it, so a chain is named from the top down. data is the external data
// file of the image before it. Either makes that image a qcow2 one. A comma in a name is written ",,", as for QEMU.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace oboro::disk {

enum class Format { raw, qcow2 };

std::string_view name(Format format);
std::optional<Format> parse_format(std::string_view name);

struct Image {
  std::string file;
  std::optional<Format> format{};  // always set, except perhaps for the first image of a disk
  std::string data{};              // external data file; empty: none
};

struct Disk {
  // First the image that the guest writes to; then the backing file of each image before.
  std::vector<Image> images;
  static constexpr size_t kMaxImages = 16;
};

// Errors: invalid (what is wrong, and with which part), limit (kMaxImages).
Result<Disk> parse_option(std::string_view text);

}  // namespace oboro::disk
