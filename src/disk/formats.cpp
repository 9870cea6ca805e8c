#include "disk/formats.h"

#include <nlohmann/json.hpp>

#include "store/files.h"
#include "store/json.h"

namespace oboro::disk {
namespace {

std::string file_of(const std::string& state_directory) { return state_directory + "/disks.json"; }

}  // namespace

Result<Formats> Formats::load(const std::string& state_directory) {
  const std::string path = file_of(state_directory);
  auto text = store::read_file(path, kMaxFile);
  if (!text && text.error().code == Errc::not_found) return Formats{};
  if (!text) return text.error();
  return parse(*text, path);
}

Result<Formats> Formats::parse(std::string_view text, const std::string& where) {
  const auto fail = [&](const std::string& what) {
    return Error{Errc::invalid, where + ": " + what +
                                    ". It says which format each disk has: mend it, or remove it and give the format "
                                    "of each disk once (--disk FILE,format=raw or qcow2)"};
  };
  auto json = store::parse_json(text, "not JSON");
  if (!json) return fail(json.error().message);
  const auto list = json->is_object() ? json->find("disks") : json->end();
  if (list == json->end() || !list->is_array() || list->size() > kMaxDisks)
    return fail("no list \"disks\" of at most " + std::to_string(kMaxDisks) + " entries");
  Formats formats;
  for (const auto& entry : *list) {
    const auto member = [&](const char* key) {
      const auto at = entry.is_object() ? entry.find(key) : entry.end();
      return at != entry.end() && at->is_string() ? store::bytes_from_json(at->get_ref<const std::string&>()) : "";
    };
    const std::string path = member("path");
    const std::optional<Format> format = parse_format(member("format"));
    if (!path.starts_with('/') || path.find('\0') != path.npos || !format ||
        !formats.formats_.emplace(path, *format).second)
      return fail("entry " + std::to_string(formats.size() + 1) +
                  " of \"disks\" has no absolute \"path\", or no \"format\" that is raw or qcow2, or is there twice");
  }
  return formats;
}

std::string Formats::format() const {
  std::string out = "{\"disks\":[";
  for (const auto& [path, format] : formats_) {
    out += out.back() == '[' ? "{\"path\":" : ",{\"path\":";
    store::append_json_string(path, out);
    out += ",\"format\":\"" + std::string(name(format)) + "\"}";
  }
  return out + "]}\n";
}

Result<void> Formats::save(const std::string& state_directory) const {
  return store::write_file_atomically(file_of(state_directory), format());
}

std::optional<Format> Formats::find(const std::string& path) const {
  const auto at = formats_.find(path);
  return at == formats_.end() ? std::nullopt : std::optional(at->second);
}

Result<bool> Formats::set(const std::string& path, Format format) {
  if (find(path) == format) return false;
  if (formats_.size() >= kMaxDisks && !find(path))
    return Error{Errc::limit, "a state directory remembers at most " + std::to_string(kMaxDisks) +
                                  " disks; remove those that are no more from its disks.json"};
  formats_[path] = format;
  return true;
}

}  // namespace oboro::disk
