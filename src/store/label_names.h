// The names of the labels: everywhere but here, a label is a bit of a 64-bit mask. `labels.json` in the state directory
// keeps the bit of each name, so that a mask means the same in every run.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace oboro::store {

class LabelNames {
 public:
  static constexpr size_t kMaxLabels = 64;

  // Reads DIR/labels.json. Without this file there are no labels. Errors: invalid (what and where), io.
  static Result<LabelNames> load(const std::string& state_directory);
  Result<void> save(const std::string& state_directory) const;

  // The label's bit. A new label gets one now. Errors: invalid (not a label name), limit (all 64 are in use).
  Result<uint64_t> add(std::string_view name);
  uint64_t find(std::string_view name) const;  // its bit, or 0
  // The names of these bits, in the order of the bits. A bit without a name (labels.json was removed) is called
  // "label-N".
  std::vector<std::string> names(uint64_t mask) const;
  size_t size() const { return names_.size(); }
  const std::vector<std::string>& all() const { return names_; }  // by bit

 private:
  std::vector<std::string> names_;
};

// [A-Za-z0-9_.-]{1,32}
bool is_label_name(std::string_view name);

}  // namespace oboro::store
