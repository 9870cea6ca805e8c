#include "history/path_tree.h"

#include <algorithm>

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

PathTree::Node PathTree::child(Node parent, std::string_view name) const {
  const auto at = index_.find(Key{parent, name});
  return at == index_.end() ? kNone : at->second;
}

PathTree::Node PathTree::make_child(Node parent, std::string_view name) {
  if (const Node known = child(parent, name); known != kNone) return known;
  Node node = kNone;
  if (!free_.empty()) {
    node = free_.back();
    free_.pop_back();
  } else {
    if (nodes_.size() >= kMaxNodes) return kNone;
    node = static_cast<Node>(nodes_.size());
    nodes_.emplace_back();
  }
  attach(node, parent, name);
  return node;
}

void PathTree::attach(Node node, Node parent, std::string_view name) {
  Entry& entry = nodes_[node];
  entry.name = name;
  entry.parent = parent;
  ++nodes_[parent].children;
  index_.emplace(Key{parent, entry.name}, node);
}

void PathTree::detach(Node node) {
  Entry& entry = nodes_[node];
  const auto at = index_.find(Key{entry.parent, entry.name});
  if (at != index_.end() && at->second == node) {
    index_.erase(at);
    --nodes_[entry.parent].children;
  }
  entry.parent = kNone;
}

void PathTree::prune(Node node) {
  while (node != kNone && nodes_[node].children == 0 && nodes_[node].file == 0) {
    const Node parent = nodes_[node].parent;
    detach(node);
    nodes_[node] = Entry{};
    free_.push_back(node);
    node = parent;
  }
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
  nodes_[node].file = 0;
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
  if (directory >= nodes_.size() || nodes_[directory].parent != kNone || nodes_[directory].name.empty() ||
      nodes_[directory].name.starts_with('\0'))
    return;  // the directory's files are gone since
  move(directory, fs, path);
}

PathTree::Displaced PathTree::move(Node moved, std::string_view fs, std::string_view to) {
  const size_t slash = to.rfind('/');
  if (to == "/" || !to.starts_with('/')) return {};
  const Node parent = make(fs, slash == 0 ? "/" : to.substr(0, slash));
  if (parent == kNone) return {};
  // No node may come below itself. A kernel refuses that, too, so only a hostile journal can ask for it.
  for (Node above = parent; above != kNone; above = nodes_[above].parent) {
    if (above != moved) continue;
    prune(parent);
    return {};
  }
  const std::string name(to.substr(slash + 1));
  Displaced displaced;
  if (const Node old = child(parent, name); old != kNone) {
    if (old == moved) return {};
    displaced.file = nodes_[old].file;
    nodes_[old].file = 0;
    // A directory that is replaced is really empty. If files below it are known, this is one half of an exchange, or
    // events about them were missed. The files stay known, without this name.
    detach(old);
    if (nodes_[old].children == 0) {
      prune(old);
    } else {
      displaced.directory = old;
    }
  }
  const Node old_parent = nodes_[moved].parent;
  detach(moved);
  attach(moved, parent, name);
  prune(old_parent);
  return displaced;
}

std::string PathTree::path(Node node) const {
  std::vector<std::string_view> names;
  size_t length = 0;
  for (; node != kNone && length < kMaxShown; node = nodes_[node].parent) {
    const std::string_view name = nodes_[node].name;
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
