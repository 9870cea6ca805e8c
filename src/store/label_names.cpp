#include "store/label_names.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "store/files.h"

namespace oboro::store {

bool is_label_name(std::string_view name) {
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  return !name.empty() && name.size() <= 32 && name.find_first_not_of(kAllowed) == std::string_view::npos;
}

Result<LabelNames> LabelNames::load(const std::string& state_directory) {
  const std::string path = state_directory + "/labels.json";
  auto text = read_file(path, 64 * 1024);
  if (!text && text.error().code == Errc::not_found) return LabelNames{};
  if (!text) return text.error();
  auto json = parse_json(*text, path);
  if (!json) return json.error();
  const auto list = json->is_object() ? json->find("labels") : json->end();
  if (list == json->end() || !list->is_array() || list->size() > kMaxLabels)
    return Error{Errc::invalid, path + ": no list \"labels\" of at most 64 names"};
  LabelNames labels;
  for (const auto& entry : *list) {
    const std::string name = entry.is_string() ? entry.get<std::string>() : "";
    if (!is_label_name(name) || labels.find(name) != 0)
      return Error{Errc::invalid, path + ": entry " + std::to_string(labels.size() + 1) +
                                      " of \"labels\" is not a label name, or is there twice"};
    labels.names_.push_back(name);
  }
  return labels;
}

Result<void> LabelNames::save(const std::string& state_directory) const {
  return write_file_atomically(state_directory + "/labels.json", nlohmann::json{{"labels", names_}}.dump() + "\n");
}

Result<uint64_t> LabelNames::add(std::string_view name) {
  if (const uint64_t known = find(name); known != 0) return known;
  if (!is_label_name(name)) return Error{Errc::invalid, "not a label name (1 to 32 of A-Z a-z 0-9 _ . -)"};
  if (names_.size() == kMaxLabels)
    return Error{Errc::limit, "no room for label \"" + std::string(name) + "\": a state directory has at most 64"};
  names_.emplace_back(name);
  return uint64_t{1} << (names_.size() - 1);
}

uint64_t LabelNames::find(std::string_view name) const {
  const auto at = std::find(names_.begin(), names_.end(), name);
  return at == names_.end() ? 0 : uint64_t{1} << (at - names_.begin());
}

std::vector<std::string> LabelNames::names(uint64_t mask) const {
  std::vector<std::string> out;
  for (size_t bit = 0; bit < kMaxLabels; ++bit) {
    if ((mask >> bit & 1) == 0) continue;
    out.push_back(bit < names_.size() ? names_[bit] : "label-" + std::to_string(bit));
  }
  return out;
}

}  // namespace oboro::store
