// The part of a state that the next run has to know.
#include <algorithm>

#include "history/history.h"

namespace oboro::history {

std::vector<PersistentFile> History::persistent_files() const {
  std::vector<PersistentFile> out;
  out.reserve(present(event::ObjectType::file));
  for (const auto& [key, object] : objects_) {
    const auto* file = std::get_if<FileDetail>(&object.detail);
    if (file == nullptr || object.ended || object.labels == 0 || !is_persistent(now_.words[file->fs])) continue;
    out.push_back({now_.words[file->fs], now_.words[file->fs_type], file->inode, file->generation, object.labels,
                   object.id, paths(object), file->last_path});
    auto& names = out.back().names;
    std::erase_if(names,
                  [](const std::string& name) { return !name.starts_with('/'); });  // a name that was too long, and cut
    if (!names.empty()) out.back().last_path.clear();
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return out;
}

Lasting History::lasting() const {
  return {persistent_files(), now_.next_id, now_.last_seq, now_.boot, now_.last_rename};
}

History::History(const Lasting& lasting, Keep keep) : History(keep) { begin_with(lasting); }

History::History(Source& source, Figures figures, const PathTree::Count& names)
    : keep_(Keep::everything),
      max_objects_(0),
      source_(&source),
      now_(std::move(figures)),
      known_ids_(now_.next_id),
      tree_(source, names) {
  for (size_t i = 0; i < now_.words.size(); ++i) word_index_.emplace(now_.words[i], static_cast<uint32_t>(i));
}

void History::begin_with(const Lasting& lasting) {
  now_.next_id = lasting.next_id;
  now_.last_seq = lasting.last_seq;
  now_.boot = lasting.boot;
  static_cast<Lasting::Rename&>(now_.last_rename) = lasting.last_rename;
  for (const PersistentFile& from : lasting.files) {
    event::Object object;
    object.type = event::ObjectType::file;
    object.id = from.id;
    object.inode = from.inode;
    object.generation = from.generation;
    object.fs = from.fs;
    object.fs_type = from.fs_type;
    TrackedObject* const made = track(object, {});
    if (made == nullptr) continue;
    made->labels |= from.labels;
    for (const std::string& name : from.names) add_name(*made, name);
    auto& file = std::get<FileDetail>(made->detail);
    if (file.names.empty()) file.last_path = from.last_path;
    file.unlinked = file.names.empty();
  }
}

}  // namespace oboro::history
