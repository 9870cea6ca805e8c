// The names of managed files as a tree, so that the rename of a directory renames everything below it at once, however
// much that is. Every file system has a tree of its own: a name refers to one file there.
//
// Threads: one at a time. No operation recurses or costs more than the length of its paths and log(number of names).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace oboro::history {

class PathTree {
 public:
  using Node = uint32_t;
  static constexpr Node kNone = 0;
  static constexpr size_t kMaxNodes = 8'000'000;

  PathTree() : nodes_(1) {}

  // The node of this name, which is made if need be. kNone if the path is not absolute, or if the tree is full.
  Node make(std::string_view fs, std::string_view path);
  Node find(std::string_view fs, std::string_view path) const;

  size_t size() const { return nodes_.size() - 1 - free_.size(); }
  uint64_t file(Node node) const { return nodes_[node].file; }
  void set_file(Node node, uint64_t file) { nodes_[node].file = file; }
  // Takes the file off the node, and the node away if nothing is below it.
  void clear_file(Node node);

  struct Displaced {
    uint64_t file = 0;       // the file that had the name `to` before, and has it no more; 0: none
    Node directory = kNone;  // had the name `to`, and has files below it: these have no path until put_back()
  };
  // The node that `from` names, and all below it, gets the name `to`. A rename to a place below itself, or of a name
  // that is not known, does nothing.
  Displaced rename(std::string_view fs, std::string_view from, std::string_view to);
  // Gives a displaced directory a name again: the rename was one half of an exchange.
  void put_back(Node directory, std::string_view fs, std::string_view path);

  // Empty if a rename has put another directory in the place of one above. At most 16 KiB; a longer path is cut at the
  // front.
  std::string path(Node node) const;

 private:
  struct Entry {
    Node parent = kNone;
    uint32_t children = 0;
    uint64_t file = 0;
    std::string name;  // of a root: '\0' and the file system
  };
  struct Key {
    Node parent;
    std::string_view name;  // of the entry
    auto operator<=>(const Key&) const = default;
  };
  Node child(Node parent, std::string_view name) const;
  Node make_child(Node parent, std::string_view name);
  Displaced move(Node moved, std::string_view fs, std::string_view to);
  void detach(Node node);
  void attach(Node node, Node parent, std::string_view name);
  void prune(Node node);

  std::deque<Entry> nodes_;  // a deque, because the keys refer to names in it
  std::vector<Node> free_;
  std::map<Key, Node> index_;  // ordered: a guest cannot make it slow by choosing names
};

}  // namespace oboro::history
