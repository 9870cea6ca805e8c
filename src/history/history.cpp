#include "history/history.h"

#include <algorithm>
#include <utility>

namespace oboro::history {

using event::Event;
using event::Kind;
using event::ObjectType;

bool is_persistent(std::string_view fs) { return !fs.empty() && !fs.starts_with("dev "); }

uint64_t History::lost() const {
  const uint64_t explained = std::min(now_.gaps, now_.left_out.events);
  return std::max(now_.gaps - explained, now_.announced_lost);
}

void History::left_out(const event::Flood& flood) {
  LeftOut& all = now_.left_out;
  ++all.floods;
  if (flood.count == 0) return;
  all.events += std::min(flood.count, kIdMask);  // a hostile journal may say anything
  if (all.first_seq == 0 || flood.first_seq < all.first_seq) all.first_seq = flood.first_seq;
  all.last_seq = std::max(all.last_seq, flood.last_seq);
}

uint32_t History::intern(const std::string& word) {
  const auto at = word_index_.find(word);
  if (at != word_index_.end()) return at->second;
  now_.words.push_back(word);
  return word_index_.emplace(word, static_cast<uint32_t>(now_.words.size() - 1)).first->second;
}

void History::add_once(std::vector<std::string>& list, std::string text) {
  if (list.size() < kMaxReasons && std::find(list.begin(), list.end(), text) == list.end())
    list.push_back(std::move(text));
}

void History::incomplete(std::string reason) {
  ++now_.incomplete_events;
  add_once(now_.reasons, std::move(reason));
}

void History::count_sequence(const Event& event) {
  if (event.seq == 0) return;  // a note of the journal writer
  if (event.seq <= now_.last_seq) {
    ++now_.out_of_order;
    return;
  }
  now_.gaps += event.seq - now_.last_seq - 1;
  now_.last_seq = event.seq;
}

// Counts the ID whether or not the object is kept: an ID is never given to another object.
void History::count_id(const event::Object& object) {
  if (object.type == ObjectType::none) return;
  now_.next_id = std::max(now_.next_id, (object.id & kIdMask) + 1);
}

void History::apply(const Event& event, uint64_t place) {
  ++now_.order;
  place_ = place;
  count_sequence(event);
  count_id(event.from);
  count_id(event.object);
  const bool new_boot = event.boot > now_.boot;
  now_.boot = std::max(now_.boot, event.boot);
  if ((event.kind == Kind::incomplete || event.kind == Kind::lost) && event.verdict == event::Verdict::deny &&
      now_.sends_refused.empty())
    now_.sends_refused = event.kind == Kind::lost ? "records were lost" : event.as<event::Incomplete>().reason;
  switch (event.kind) {
    case Kind::started:
      now_.warnings.clear();
      now_.sends_refused.clear();
      end_boot();
      break;
    case Kind::reset:
      end_boot();
      break;
    case Kind::armed:
      if (new_boot) end_boot();
      break;
    case Kind::classified:
      spread(event, true);
      break;
    case Kind::leak:
      ++now_.leaks;
      leaked(event);
      [[fallthrough]];
    case Kind::diffusion:
      spread(event, false);
      break;
    case Kind::exec:
      if (auto* process = tracked(event.object)) update_process(*process, event.object.process);
      break;
    case Kind::exited:
    case Kind::closed:
    case Kind::removed:
      if (event.kind == Kind::removed) now_.last_rename = {};
      if (auto* object = tracked(event.object)) end(*object);
      break;
    case Kind::renamed:
      rename(event);
      break;
    case Kind::linked:
      if (auto* file = tracked(event.object); file != nullptr && !file->ended) add_name(*file, event.object.path);
      break;
    case Kind::unlinked: {
      now_.last_rename = {};
      const ObjectKey key = object_key(event.object.type, event.object.id);
      const PathTree::Node node = tree_.find(event.object.fs, event.object.path);
      if (node != PathTree::kNone && tree_.file(node) == key) drop_name(key, node, true, event.object.path);
      break;
    }
    case Kind::incomplete:
      incomplete(event.as<event::Incomplete>().reason);
      break;
    case Kind::lost:
      now_.announced_lost += std::max<uint64_t>(event.as<event::Lost>().count, 1);
      break;
    case Kind::command:
      if (event.as<event::Command>().request == "resume") now_.sends_refused.clear();
      break;
    case Kind::warning:
      add_once(now_.warnings, event.as<event::Warning>().text);
      break;
    case Kind::flood:
      left_out(event.as<event::Flood>());
      break;
    case Kind::stopped:  // the guest's last state can be asked for until the next run starts
    case Kind::hidden:
    case Kind::refused:
    case Kind::segment:
    case Kind::count:
      break;
  }
}

// The object with this key, from memory or else from the source.
TrackedObject* History::object_of(ObjectKey key) const {
  const auto at = objects_.find(key);
  if (at != objects_.end()) return &at->second;
  if (source_ == nullptr || (key & kIdMask) >= known_ids_) return nullptr;
  auto taken = source_->object(key);
  return taken ? &objects_.emplace(key, std::move(*taken)).first->second : nullptr;
}

// As object_of(), to change it.
TrackedObject* History::tracked(ObjectKey key) {
  TrackedObject* const object = object_of(key);
  if (object != nullptr && source_ != nullptr) changed_.insert(key);
  return object;
}

void History::forget_source() {
  source_ = nullptr;
  tree_.forget_source();
}

bool History::ends_with_boot(const TrackedObject& object) const {
  const auto* file = std::get_if<FileDetail>(&object.detail);
  return file == nullptr || !is_persistent(now_.words[file->fs]);
}

void History::forget_changes(bool keep) {
  changed_.clear();
  leaks_.clear();
  known_ids_ = now_.next_id;
  if (keep) {
    for (auto& [key, object] : objects_) object.gains.clear();  // the source has them
  } else {
    objects_.clear();
  }
  tree_.forget_changes(keep);
}

TrackedObject* History::track(const event::Object& object, const Event& event) {
  // The far end of a leak has no identity: it may be no object of the guest.
  if (object.type == ObjectType::none || object.id == 0) return nullptr;
  const ObjectKey key = object_key(object.type, object.id);
  if (auto* known = tracked(object)) return known;
  const bool persistent = object.type == ObjectType::file && is_persistent(object.fs);
  if (keep_ == Keep::lasting && !persistent) return nullptr;
  if (keep_ == Keep::everything && source_ == nullptr && objects_.size() >= max_objects_) {
    incomplete("there are more than " + std::to_string(max_objects_) +
               " managed objects; the later ones are not shown");
    return nullptr;
  }
  TrackedObject& made = objects_[key];
  if (source_ != nullptr) changed_.insert(key);
  made.type = object.type;
  made.id = object.id;
  made.since_ns = event.time_ns;
  made.since_order = now_.order;
  if (object.type == ObjectType::file) {
    FileDetail& file = made.detail.emplace<FileDetail>();
    file.inode = object.inode;
    file.generation = object.generation;
    file.fs = intern(object.fs);
    file.fs_type = intern(object.fs_type);
  } else if (object.type == ObjectType::process) {
    made.detail = object.process;
  } else {
    made.detail = SocketDetail{object.path, object.protocol, object.local, object.remote};
  }
  if (!persistent && source_ == nullptr) volatile_.push_back(key);
  ++now_.present[static_cast<size_t>(object.type)];
  return &made;
}

void History::gain(TrackedObject& object, uint64_t labels, ObjectKey from, bool classified) {
  const uint64_t fresh = labels & ~object.labels;
  if (fresh == 0) return;
  object.labels |= fresh;
  if (keep_ == Keep::lasting) return;
  object.gains.push_back({now_.order, fresh, from, classified, place_});
  ++now_.gains;
}

void History::spread(const Event& event, bool classified) {
  if (event.verdict == event::Verdict::deny) return;  // nothing went anywhere
  ObjectKey from = 0;
  if (!classified && event.from.type != ObjectType::none) {
    // The tracer says that the source has the labels. If the state does not know how it got them, records were lost. It
    // is managed all the same.
    if (auto* source = track(event.from, event)) {
      gain(*source, event.labels, 0, false);
      if (event.from.type == ObjectType::file && !event.from.path.empty()) add_name(*source, event.from.path);
    }
    from = object_key(event.from.type, event.from.id);
  }
  auto* target = track(event.object, event);
  if (target == nullptr) return;
  gain(*target, event.labels, from, classified);
  if (target->ended) return;
  if (target->type == ObjectType::file) {
    if (!event.object.path.empty()) add_name(*target, event.object.path);
  } else if (target->type == ObjectType::process) {
    update_process(*target, event.object.process);
  } else if (auto* socket = std::get_if<SocketDetail>(&target->detail)) {
    *socket = {event.object.path, event.object.protocol, event.object.local, event.object.remote};
  }
}

void History::leaked(const Event& event) {
  if (keep_ == Keep::lasting || event.verdict == event::Verdict::deny || event.from.id == 0) return;
  if (source_ == nullptr && leaks_.size() >= max_objects_)
    return incomplete("there are more than " + std::to_string(max_objects_) +
                      " leaks; the later ones are not shown as what left");
  leaks_.push_back({now_.order, event.labels, object_key(event.from.type, event.from.id), false, place_});
}

void History::update_process(TrackedObject& object, const event::Subject& subject) {
  auto* process = std::get_if<event::Subject>(&object.detail);
  if (process == nullptr || subject.pid != process->pid) return;
  if (!subject.comm.empty()) process->comm = subject.comm;
  if (!subject.exe.empty()) process->exe = subject.exe;
  if (!subject.cgroup.empty()) process->cgroup = subject.cgroup;
}

void History::add_name(TrackedObject& object, std::string_view path) {
  auto* file = std::get_if<FileDetail>(&object.detail);
  if (file == nullptr || object.ended) return;
  const PathTree::Node node = tree_.make(now_.words[file->fs], path);
  if (node == PathTree::kNone) {
    file->last_path = path;
    return;
  }
  const ObjectKey key = object_key(object.type, object.id);
  if (tree_.file(node) == key) return;
  // A name refers to one file. The event by which the other file lost it was missed, or comes later.
  if (tree_.file(node) != 0) drop_name(tree_.file(node), node, false, path);
  tree_.set_file(node, key);
  file->names.push_back(node);
  file->unlinked = false;
}

void History::drop_name(ObjectKey key, PathTree::Node node, bool clear, std::string_view path) {
  TrackedObject* const object = tracked(key);
  auto* file = object == nullptr ? nullptr : std::get_if<FileDetail>(&object->detail);
  if (file != nullptr) {
    const auto name = std::find(file->names.begin(), file->names.end(), node);
    if (name != file->names.end()) {
      if (file->names.size() == 1) {
        file->last_path = path;
        file->unlinked = true;
      }
      *name = file->names.back();
      file->names.pop_back();
    }
  }
  if (clear) tree_.clear_file(node);
}

// An exchange (RENAME_EXCHANGE) is two renames. The second one is the first one backwards, of another inode. A rename,
// and one back again, are of the same inode. No name goes away between the two: else another file may have come to the
// name since, untold, and moves now.
bool History::completes_exchange(const Event& event) const {
  return event.as<event::Renamed>().old_path == now_.last_rename.to && event.object.path == now_.last_rename.from &&
         event.object.fs == now_.last_rename.fs && event.object.inode != now_.last_rename.inode;
}

void History::rename(const Event& event) {
  const std::string& fs = event.object.fs;
  const std::string& old_path = event.as<event::Renamed>().old_path;
  if (completes_exchange(event)) {
    tree_.put_back(now_.last_rename.displaced, fs, event.object.path);
    now_.last_rename = {};
  } else {
    const bool known = tree_.find(fs, old_path) != PathTree::kNone;
    const PathTree::Node target = tree_.find(fs, event.object.path);
    const auto displaced = tree_.rename(fs, old_path, event.object.path);
    if (displaced.file != 0) drop_name(displaced.file, target, false, event.object.path);
    // If nothing had the old name, nothing was moved, and the other half is a rename like any other.
    now_.last_rename = {};
    if (known) now_.last_rename = {{fs, old_path, event.object.path, event.object.inode}, displaced.directory};
  }
  // Its old name may have been unknown, or it was displaced as the other half of an exchange.
  if (event.object.type == ObjectType::file)
    if (auto* file = tracked(event.object)) add_name(*file, event.object.path);
}

// With Keep::lasting, `object` is gone after this call.
void History::end(TrackedObject& object) {
  if (object.ended) return;
  object.ended = true;
  --now_.present[static_cast<size_t>(object.type)];
  auto* file = std::get_if<FileDetail>(&object.detail);
  if (file == nullptr) return;
  if (!file->names.empty()) file->last_path = tree_.path(file->names.front());
  for (const PathTree::Node node : file->names) tree_.clear_file(node);
  file->names.clear();
  file->names.shrink_to_fit();
  if (keep_ == Keep::lasting) forget(object_key(object.type, object.id));
}

// The words are removed together with their files: a guest may have made each file in a file system of its own.
void History::forget(ObjectKey key) {
  objects_.erase(key);
  if (now_.words.size() < 4 * objects_.size() + 64) return;
  const std::vector<std::string> words = std::exchange(now_.words, {""});
  word_index_ = {{"", 0}};
  for (auto& [other, object] : objects_) {
    auto* file = std::get_if<FileDetail>(&object.detail);
    if (file == nullptr) continue;
    file->fs = intern(words[file->fs]);
    file->fs_type = intern(words[file->fs_type]);
  }
}

void History::end_boot() {
  now_.last_rename = {};
  if (source_ != nullptr) {
    volatile_ = source_->present_of_boot();
    for (const auto& [key, object] : objects_)
      if (!object.ended && ends_with_boot(object)) volatile_.push_back(key);
    for (const ObjectKey key : volatile_)
      if (const auto* object = object_of(key); object != nullptr && !object->ended) end(*tracked(key));
    volatile_ = {};
    return;
  }
  for (const ObjectKey key : volatile_)
    if (const auto at = objects_.find(key); at != objects_.end()) end(at->second);
  volatile_.clear();
}

}  // namespace oboro::history
