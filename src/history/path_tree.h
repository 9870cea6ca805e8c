// The names of managed files as a tree, so that the rename of a directory renames everything below it at once, however
// much that is. Every file system has a tree of its own: a name refers to one file there.
//
// The nodes are in memory; or elsewhere (NodeSource), and those that are asked for come into memory.
//
// Threads: one at a time. No operation recurses or costs more than the length of its paths and log(number of names).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace oboro::history {

class PathTree {
 public:
  using Node = uint32_t;
  static constexpr Node kNone = 0;
  static constexpr size_t kMaxNodes = 8'000'000;

  struct Entry {
    Node parent = kNone;
    uint32_t children = 0;
    uint64_t file = 0;
    bool attached = false;  // false: displaced, and has no path
    std::string name;       // of a root: '\0' and the file system; empty: there is no such node
  };
  // How many nodes there are, and the highest that there has been.
  struct Count {
    uint64_t nodes = 0;
    Node highest = kNone;
    bool operator==(const Count&) const = default;
  };
  // Where the nodes are that are not in memory, as they were at the last forget_changes(). It may have anything:
  // nothing here is read or written out of bounds, or goes on for ever, whatever it says.
  class Source {
   public:
    virtual ~Source() = default;
    virtual Node child(Node parent, std::string_view name) = 0;  // of an attached node; kNone: there is none
    virtual std::optional<Entry> entry(Node node) = 0;
  };

  PathTree() = default;
  PathTree(Source& source, const Count& count) : source_(&source), count_(count) {}

  // The node of this name, which is made if need be. kNone if the path is not absolute, or if the tree is full.
  Node make(std::string_view fs, std::string_view path);
  Node find(std::string_view fs, std::string_view path) const;

  size_t size() const { return count_.nodes; }
  size_t in_memory() const { return nodes_.size(); }
  const Count& count() const { return count_; }
  uint64_t file(Node node) const { return look(node).file; }
  void set_file(Node node, uint64_t file) { at(node).file = file; }
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

  // With a source: the nodes that are not as the source has them. A node without a name is gone.
  const std::unordered_set<Node>& changed() const { return changed_; }
  const Entry& entry(Node node) const { return look(node); }
  // The source has the changes now. `keep`: what is in memory stays there.
  void forget_changes(bool keep);
  void forget_source() { source_ = nullptr; }

 private:
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

  Entry& at(Node node);
  const Entry& look(Node node) const;

  Source* source_ = nullptr;
  Count count_;
  // Elements stay where they are, because the keys refer to names in them. Mutable: what comes from the source is no
  // change.
  mutable std::unordered_map<Node, Entry> nodes_;
  mutable std::map<Key, Node> index_;  // ordered: a guest cannot make it slow by choosing names
  std::unordered_set<Node> changed_;
  std::vector<Node> free_;
};

}  // namespace oboro::history
