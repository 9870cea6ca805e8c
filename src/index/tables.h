// The tables of an index: objects, how labels came to them, the tree of their names, and how far all that is.
// docs/formats.md has them.
//
// What is read is checked: a value that cannot be is a failure of the database, which its owner asks for.
//
// Threads: one at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "history/history.h"
#include "index/database.h"
#include "stream/cursor.h"
#include "stream/reader.h"

namespace oboro::index {

// How far an index is, and what its History and its reader of the journal know there beside objects and names.
struct Standing {
  uint64_t batch = 0;  // counts up with each change, whoever makes it
  uint64_t begin = 0;  // where the journal begins that it is of
  stream::Cursor cursor;
  stream::ReadSoFar read;
  history::Figures figures;
  history::PathTree::Count names;
};

// A place in the journal, behind its event number `order`.
struct Place {
  uint64_t order = 0;
  uint64_t offset = 0;
};

class Tables : public history::Source {
 public:
  explicit Tables(Database& database);

  // Whether the tables are there, as this build makes them. Nothing: the file is empty.
  std::optional<bool> are_ours();
  void make();
  void clear();

  std::optional<Standing> standing();  // nothing: nothing is in the index, or a failure
  void write(const Standing& standing);
  uint64_t batch();  // of the standing; or of the last one that there was
  void write_batch(uint64_t batch);
  void write_changes(const history::History& state);
  void add_place(const Place& place, uint64_t highest);  // no event up to there has a higher number
  Place place_before(uint64_t seq);                      // before the first event with this number

  std::optional<history::TrackedObject> object(history::ObjectKey key) override;
  std::vector<history::Gain> gains(history::ObjectKey key) override;
  void given(history::ObjectKey from, uint64_t after, const Given& take) override;
  void each(event::ObjectType type, bool ended, const std::function<void(history::TrackedObject)>& take) override;
  std::vector<history::ObjectKey> present_of_boot() override;
  void with_pid(uint32_t pid, const Right& right) override;
  void last_named(std::string_view path, const Right& right) override;
  history::PathTree::Node child(history::PathTree::Node parent, std::string_view name) override;
  std::optional<history::PathTree::Entry> entry(history::PathTree::Node node) override;

 private:
  Statement& prepared(std::unique_ptr<Statement>& statement, std::string_view sql);
  history::TrackedObject take_object(Statement& row);
  void write_object(history::ObjectKey key, const history::TrackedObject& object, bool lasting);
  void write_gain(history::ObjectKey to, const history::Gain& gain);
  void write_node(history::PathTree::Node node, const history::PathTree::Entry& entry);
  void write_texts(int list, const std::vector<std::string>& texts);
  void ask(Statement& statement, const Right& right);

  Database& database_;
  size_t words_ = 0;  // that the tables have
  std::unique_ptr<Statement> object_, gains_, given_, child_, entry_, put_object_, put_gain_, put_node_, drop_node_,
      put_meta_, put_place_;
};

}  // namespace oboro::index
