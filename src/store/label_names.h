// The names of the labels: a label is a bit of a 64-bit mask everywhere but here. `labels.json` in the state directory
// keeps which bit is whose, so that a mask means the same in every run.
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

  // Reads DIR/labels.json; no such file is no labels. Errors: invalid (what and where), io.
  static Result<LabelNames> load(const std::string& state_directory);
  Result<void> save(const std::string& state_directory) const;

  // The label's bit, given to it now if it has none. Errors: invalid (not a label name), limit (all 64 are in use).
  Result<uint64_t> add(std::string_view name);
  uint64_t find(std::string_view name) const;  // its bit, or 0
  // In the order of their bits. A bit without a name (labels.json was removed) is called "label-N".
  std::vector<std::string> names(uint64_t mask) const;
  size_t size() const { return names_.size(); }

 private:
  std::vector<std::string> names_;
};

// [A-Za-z0-9_.-]{1,32}
bool is_label_name(std::string_view name);

}  // namespace oboro::store
