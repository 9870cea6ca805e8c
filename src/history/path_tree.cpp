#include "history/path_tree.h"

#include <algorithm>
#include <utility>

namespace oboro::history {
namespace {

constexpr size_t kMaxShown = 16 * 1024;

// Calls fn(component) for each; false as soon as fn is.
template <typename Fn>
bool each_component(std::string_view path, Fn&& fn) {
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    if (end > 0 && !fn(path.substr(0, end))) return false;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return true;
}

}  // namespace

// A node that is nowhere is an empty one: a source may name such.
const PathTree::Entry& PathTree::look(Node node) const {
  static const Entry kNothing;
  const auto known = nodes_.find(node);
  if (known != nodes_.end()) return known->second;
  if (source_ == nullptr || node == kNone) return kNothing;
  auto entry = source_->entry(node);
  if (!entry) return kNothing;
  const Entry& taken = nodes_.emplace(node, std::move(*entry)).first->second;
  if (taken.attached) index_.emplace(Key{taken.parent, taken.name}, node);
  return taken;
}

PathTree::Entry& PathTree::at(Node node) {
  (void)look(node);
  if (source_ != nullptr && node != kNone) changed_.insert(node);
  return nodes_[node];
}

PathTree::Node PathTree::child(Node parent, std::string_view name) const {
  const auto known = index_.find(Key{parent, name});
  if (known != index_.end()) return known->second;
  const Node node = source_ == nullptr ? kNone : source_->child(parent, name);
  // What is in memory already, and not under this name, has lost it since.
  if (node == kNone || nodes_.contains(node)) return kNone;
  const Entry& entry = look(node);
  return entry.attached && entry.parent == parent && entry.name == name ? node : kNone;
}

PathTree::Node PathTree::make_child(Node parent, std::string_view name) {
  if (const Node known = child(parent, name); known != kNone) return known;
  if (count_.nodes >= kMaxNodes - 1) return kNone;
  Node node = kNone;
  if (!free_.empty()) {
    node = free_.back();
    free_.pop_back();
  } else {
    if (count_.highest == UINT32_MAX) return kNone;
    node = ++count_.highest;
  }
  ++count_.nodes;
  attach(node, parent, name);
  return node;
}

void PathTree::attach(Node node, Node parent, std::string_view name) {
  Entry& entry = at(node);
  entry.name = name;
  entry.parent = parent;
  entry.attached = true;
  ++at(parent).children;
  index_.emplace(Key{parent, entry.name}, node);
}

void PathTree::detach(Node node) {
  Entry& entry = at(node);
  if (entry.attached) {
    index_.erase(Key{entry.parent, entry.name});
    --at(entry.parent).children;
  }
  entry.attached = false;
  entry.parent = kNone;
}

void PathTree::prune(Node node) {
  while (node != kNone && look(node).children == 0 && look(node).file == 0) {
    const Node parent = look(node).parent;
    if (look(node).name.empty()) return;  // only where a source says so
    detach(node);
    if (source_ == nullptr) {
      nodes_.erase(node);
    } else {
      at(node) = Entry{};
    }
    free_.push_back(node);
    --count_.nodes;
    node = parent;
  }
}

void PathTree::forget_changes(bool keep) {
  if (!keep) {
    index_.clear();
    nodes_.clear();
  } else {
    for (const Node node : changed_)
      if (const auto known = nodes_.find(node); known != nodes_.end() && known->second.name.empty())
        nodes_.erase(known);
  }
  changed_.clear();
}

PathTree::Node PathTree::make(std::string_view fs, std::string_view path) {
  if (!path.starts_with('/')) return kNone;
  Node node = make_child(kNone, '\0' + std::string(fs));
  if (node == kNone) return kNone;
  Node last = node;
  const bool whole = each_component(path, [&](std::string_view name) {
    node = make_child(last, name);
    if (node != kNone) last = node;
    return node != kNone;
  });
  if (!whole) prune(last);
  return whole ? last : kNone;
}

PathTree::Node PathTree::find(std::string_view fs, std::string_view path) const {
  if (!path.starts_with('/')) return kNone;
  Node node = child(kNone, '\0' + std::string(fs));
  if (node == kNone) return kNone;
  each_component(path, [&](std::string_view name) { return (node = child(node, name)) != kNone; });
  return node;
}

void PathTree::clear_file(Node node) {
  at(node).file = 0;
  prune(node);
}

PathTree::Displaced PathTree::rename(std::string_view fs, std::string_view from, std::string_view to) {
  while (from.size() > 1 && from.ends_with('/')) from.remove_suffix(1);
  while (to.size() > 1 && to.ends_with('/')) to.remove_suffix(1);
  if (from == to || from == "/" || !from.starts_with('/')) return {};
  const Node moved = find(fs, from);
  if (moved == kNone) return {};
  return move(moved, fs, to);
}

void PathTree::put_back(Node directory, std::string_view fs, std::string_view path) {
  const Entry& entry = look(directory);
  if (entry.parent != kNone || entry.name.empty() || entry.name.starts_with('\0'))
    return;  // the directory's files are gone since
  move(directory, fs, path);
}

PathTree::Displaced PathTree::move(Node moved, std::string_view fs, std::string_view to) {
  const size_t slash = to.rfind('/');
  if (to == "/" || !to.starts_with('/')) return {};
  const Node parent = make(fs, slash == 0 ? "/" : to.substr(0, slash));
  if (parent == kNone) return {};
  // No node may come below itself. A kernel refuses that, too, so only a hostile journal can ask for it.
  size_t steps = 0;
  for (Node above = parent; above != kNone; above = look(above).parent) {
    if (above != moved && ++steps < kMaxNodes) continue;
    prune(parent);
    return {};
  }
  const std::string name(to.substr(slash + 1));
  Displaced displaced;
  if (const Node old = child(parent, name); old != kNone) {
    if (old == moved) return {};
    displaced.file = std::exchange(at(old).file, 0);
    // A directory that is replaced is really empty. If files below it are known, this is one half of an exchange, or
    // events about them were missed. The files stay known, without this name.
    detach(old);
    if (look(old).children == 0) {
      prune(old);
    } else {
      displaced.directory = old;
    }
  }
  const Node old_parent = look(moved).parent;
  detach(moved);
  attach(moved, parent, name);
  prune(old_parent);
  return displaced;
}

std::string PathTree::path(Node node) const {
  std::vector<std::string_view> names;
  size_t length = 0;
  for (; node != kNone && length < kMaxShown; node = look(node).parent) {
    const std::string_view name = look(node).name;
    if (name.starts_with('\0')) break;
    names.push_back(name);
    length += name.size() + 1;
  }
  if (node == kNone) return {};
  std::string out;
  if (length >= kMaxShown) out = "...";
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    out += '/';
    out += *name;
  }
  if (names.empty()) out = "/";
  return out;
}

}  // namespace oboro::history
