// The format that each disk of a guest had when it was first used: STATE/disks.json (docs/formats.md). The guest writes
// the content of a raw disk, so the content is not asked again.
//
// Threads: one at a time, under the state directory's lock.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "disk/option.h"

namespace oboro::disk {

class Formats {
 public:
  static constexpr size_t kMaxDisks = 1024, kMaxFile = size_t{8} << 20;

  // Without such a file there are no disks. Errors: invalid (what and where), limit, io.
  static Result<Formats> load(const std::string& state_directory);
  // Errors: invalid; the message begins with `where`.
  static Result<Formats> parse(std::string_view text, const std::string& where);
  std::string format() const;
  Result<void> save(const std::string& state_directory) const;

  // path: absolute, without links.
  std::optional<Format> find(const std::string& path) const;
  // True: the disk or its format is new. Error: limit.
  Result<bool> set(const std::string& path, Format format);
  size_t size() const { return formats_.size(); }

 private:
  std::map<std::string, Format> formats_;
};

}  // namespace oboro::disk
