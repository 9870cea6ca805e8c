#include <algorithm>

#include "history/history.h"

namespace oboro::history {

using event::ObjectType;

const TrackedObject* History::find(ObjectKey key) const {
  const auto at = objects_.find(key);
  return at == objects_.end() ? nullptr : &at->second;
}

const TrackedObject* History::find_file(std::string_view path) const {
  const TrackedObject* best = nullptr;
  const auto later = [&](const TrackedObject* candidate) {
    if (candidate != nullptr && (best == nullptr || candidate->since_order > best->since_order)) best = candidate;
  };
  for (const std::string& fs : words_)
    if (const PathTree::Node node = tree_.find(fs, path); node != PathTree::kNone) later(find(tree_.file(node)));
  if (best != nullptr) return best;
  for (const auto& [key, object] : objects_)
    if (const auto* file = std::get_if<FileDetail>(&object.detail);
        file != nullptr && file->names.empty() && file->last_path == path)
      later(&object);
  return best;
}

const TrackedObject* History::find_process(uint32_t pid) const {
  const TrackedObject* best = nullptr;
  for (const auto& [key, object] : objects_)
    if (const auto* process = std::get_if<event::Subject>(&object.detail); process != nullptr && process->pid == pid)
      if (best == nullptr || object.since_order > best->since_order) best = &object;
  return best;
}

std::vector<const TrackedObject*> History::objects(ObjectType type) const {
  std::vector<const TrackedObject*> out;
  for (const auto& [key, object] : objects_)
    if (object.type == type) out.push_back(&object);
  std::sort(out.begin(), out.end(), [](const auto* a, const auto* b) {
    return a->since_order != b->since_order ? a->since_order < b->since_order : a->id < b->id;
  });
  return out;
}

std::vector<std::string> History::paths(const TrackedObject& object) const {
  std::vector<std::string> out;
  const auto* file = std::get_if<FileDetail>(&object.detail);
  if (file == nullptr) return out;
  for (const PathTree::Node node : file->names)
    if (auto path = tree_.path(node); !path.empty()) out.push_back(std::move(path));
  std::sort(out.begin(), out.end());
  return out;
}

event::Object History::describe(const TrackedObject& object) const {
  event::Object out;
  out.type = object.type;
  out.id = object.id;
  if (const auto* file = std::get_if<FileDetail>(&object.detail)) {
    const auto names = paths(object);
    out.path = names.empty() ? file->last_path : names.front();
    out.inode = file->inode;
    out.generation = file->generation;
    out.fs = words_[file->fs];
    out.fs_type = words_[file->fs_type];
  } else if (const auto* process = std::get_if<event::Subject>(&object.detail)) {
    out.process = *process;
  } else if (const auto* socket = std::get_if<SocketDetail>(&object.detail)) {
    out.path = socket->path;
    out.protocol = socket->protocol;
    out.local = socket->local;
    out.remote = socket->remote;
  }
  return out;
}

// Goes backwards from the object: the gain that brought the label, the object that it came from, the gain that had
// brought it there before... Each step is at an earlier event than the last, so there is an end.
std::vector<Chain> History::explain(const TrackedObject& object) const {
  std::vector<Chain> chains;
  for (uint64_t rest = object.labels; rest != 0; rest &= rest - 1) {
    const uint64_t label = rest & (~rest + 1);
    Chain chain{.labels = label, .orders = {}, .complete = false};
    uint64_t before = ~uint64_t{0};
    for (const TrackedObject* at = &object; at != nullptr && chain.orders.size() < kMaxChain;) {
      const auto gain = std::find_if(at->gains.begin(), at->gains.end(),
                                     [&](const Gain& g) { return (g.labels & label) != 0 && g.order < before; });
      if (gain == at->gains.end()) break;
      // If an object is only known as the source of a later event, nobody recorded how it got its label.
      if (gain->from == 0 && !gain->classified) break;
      chain.orders.push_back(gain->order);
      chain.complete = gain->classified;
      before = gain->order;
      at = gain->classified ? nullptr : find(gain->from);
    }
    std::reverse(chain.orders.begin(), chain.orders.end());
    const auto same = std::find_if(chains.begin(), chains.end(), [&](const Chain& other) {
      return other.orders == chain.orders && other.complete == chain.complete;
    });
    if (same == chains.end()) {
      chains.push_back(std::move(chain));
    } else {
      same->labels |= label;
    }
  }
  return chains;
}

}  // namespace oboro::history
