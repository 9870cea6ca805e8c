#include <algorithm>
#include <utility>

#include "history/history.h"

namespace oboro::history {

using event::ObjectType;

const TrackedObject* History::find(ObjectKey key) const { return object_of(key); }

namespace {

// Of two: the one that became managed later.
void take_later(const TrackedObject*& best, const TrackedObject* other) {
  const auto rank = [](const TrackedObject& object) { return std::pair(object.since_order, object.id); };
  if (other != nullptr && (best == nullptr || rank(*other) > rank(*best))) best = other;
}

bool was_last_named(const TrackedObject& object, std::string_view path) {
  const auto* file = std::get_if<FileDetail>(&object.detail);
  return file != nullptr && file->names.empty() && file->last_path == path;
}

bool has_pid(const TrackedObject& object, uint32_t pid) {
  const auto* process = std::get_if<event::Subject>(&object.detail);
  return process != nullptr && process->pid == pid;
}

}  // namespace

// Of all objects that are right, the one that became managed last. `candidates` asks the source, if there is one.
template <typename Right>
const TrackedObject* History::latest(const std::function<void(const Source::Right&)>& candidates,
                                     const Right& right) const {
  const TrackedObject* best = nullptr;
  if (source_ != nullptr)
    candidates([&](ObjectKey key) {
      const TrackedObject* const object = find(key);
      if (object == nullptr || !right(*object)) return false;
      take_later(best, object);
      return true;
    });
  for (const auto& [key, object] : objects_)
    if (right(object)) take_later(best, &object);
  return best;
}

const TrackedObject* History::find_file(std::string_view path) const {
  const TrackedObject* best = nullptr;
  for (const std::string& fs : now_.words)
    if (const PathTree::Node node = tree_.find(fs, path); node != PathTree::kNone)
      take_later(best, find(tree_.file(node)));
  if (best != nullptr) return best;
  return latest([&](const Source::Right& take) { source_->last_named(path, take); },
                [&](const TrackedObject& object) { return was_last_named(object, path); });
}

const TrackedObject* History::find_process(uint32_t pid) const {
  return latest([&](const Source::Right& take) { source_->with_pid(pid, take); },
                [&](const TrackedObject& object) { return has_pid(object, pid); });
}

std::vector<const TrackedObject*> History::objects(ObjectType type, bool ended) const {
  if (source_ != nullptr)
    source_->each(type, ended, [&](TrackedObject taken) {
      const ObjectKey key = object_key(taken.type, taken.id);
      objects_.try_emplace(key, std::move(taken));  // what is in memory is newer
    });
  std::vector<const TrackedObject*> out;
  for (const auto& [key, object] : objects_)
    if (object.type == type && (ended || !object.ended)) out.push_back(&object);
  std::sort(out.begin(), out.end(), [](const auto* a, const auto* b) {
    return a->since_order != b->since_order ? a->since_order < b->since_order : a->id < b->id;
  });
  return out;
}

// All of them: those of before, which the source has, and then those in memory.
std::vector<Gain> History::gains_of(const TrackedObject& object) const {
  std::vector<Gain> gains;
  if (source_ != nullptr) gains = source_->gains(object_key(object.type, object.id));
  gains.insert(gains.end(), object.gains.begin(), object.gains.end());
  return gains;
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
    out.fs = now_.words[file->fs];
    out.fs_type = now_.words[file->fs_type];
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
// brought it there before... Each step is at an earlier event than the last, so there is an end. origin: where to stop;
// 0: at the beginning.
Chain History::way_of(const TrackedObject& object, uint64_t label, ObjectKey origin) const {
  Chain chain{.labels = label, .steps = {}, .complete = false};
  uint64_t before = ~uint64_t{0};
  for (const TrackedObject* at = &object; at != nullptr && chain.steps.size() < kMaxChain;) {
    const std::vector<Gain> gains = gains_of(*at);
    const auto gain = std::find_if(gains.begin(), gains.end(),
                                   [&](const Gain& g) { return (g.labels & label) != 0 && g.order < before; });
    if (gain == gains.end()) break;
    // If an object is only known as the source of a later event, nobody recorded how it got its label.
    if (gain->from == 0 && !gain->classified) break;
    chain.steps.push_back({gain->order, gain->place});
    chain.complete = origin == 0 ? gain->classified : gain->from == origin;
    before = gain->order;
    at = gain->classified || (origin != 0 && chain.complete) ? nullptr : find(gain->from);
  }
  std::reverse(chain.steps.begin(), chain.steps.end());
  return chain;
}

// One chain for all labels that came on the same way.
std::vector<Chain> History::ways_of(const TrackedObject& object, ObjectKey origin) const {
  std::vector<Chain> chains;
  for (uint64_t rest = object.labels; rest != 0; rest &= rest - 1) {
    Chain chain = way_of(object, rest & (~rest + 1), origin);
    if (origin != 0 && !chain.complete) continue;
    const auto same = std::find_if(chains.begin(), chains.end(), [&](const Chain& other) {
      return other.steps == chain.steps && other.complete == chain.complete;
    });
    if (same == chains.end())
      chains.push_back(std::move(chain));
    else
      same->labels |= chain.labels;
  }
  return chains;
}

std::vector<Chain> History::explain(const TrackedObject& object) const { return ways_of(object, 0); }

std::vector<Chain> History::explain_from(const TrackedObject& origin, const TrackedObject& object) const {
  return ways_of(object, object_key(origin.type, origin.id));
}

// Each step is at a later event than the one that it comes from, so there is an end. What got several labels at one
// event stands there once.
std::vector<Reached> History::reach(const TrackedObject& origin, size_t most) const {
  using Move = std::pair<ObjectKey, Gain>;  // to
  std::unordered_map<ObjectKey, std::vector<Move>> here;
  for (const auto& [key, object] : objects_)
    for (const Gain& gain : object.gains)
      if (gain.from != 0) here[gain.from].emplace_back(key, gain);
  for (const Gain& leak : leaks_) here[leak.from].emplace_back(0, leak);

  struct Level {
    std::vector<Move> moves;  // the next one last
    uint64_t labels;
  };
  const auto level = [&](ObjectKey from, uint64_t labels, uint64_t after) {
    Level found{{}, labels};
    const auto take = [&](ObjectKey to, const Gain& gain) {
      if (gain.order > after && (gain.labels & labels) != 0) found.moves.emplace_back(to, gain);
      return found.moves.size() < most;
    };
    if (source_ != nullptr) source_->given(from, after, take);
    if (const auto moves = here.find(from); moves != here.end())
      for (const auto& [to, gain] : moves->second) take(to, gain);
    // A leak to an object of the guest's is that object's gain, too, if it did not have the labels.
    const auto rank = [](const Move& move) { return std::pair(move.second.order, move.first); };
    std::sort(found.moves.begin(), found.moves.end(), [&](const Move& a, const Move& b) { return rank(a) > rank(b); });
    const auto same = [](const Move& a, const Move& b) { return a.second.order == b.second.order; };
    found.moves.erase(std::unique(found.moves.begin(), found.moves.end(), same), found.moves.end());
    return found;
  };
  std::vector<Reached> out;
  std::vector<Level> levels;
  levels.push_back(level(object_key(origin.type, origin.id), origin.labels, 0));
  while (!levels.empty() && out.size() < most) {
    if (levels.back().moves.empty()) {
      levels.pop_back();
      continue;
    }
    const auto [to, gain] = levels.back().moves.back();
    levels.back().moves.pop_back();
    const uint64_t labels = gain.labels & levels.back().labels;
    out.push_back({to, labels, {gain.order, gain.place}, levels.size()});
    if (to != 0 && levels.size() < kMaxChain) levels.push_back(level(to, labels, gain.order));
  }
  return out;
}

}  // namespace oboro::history
