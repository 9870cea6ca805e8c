// The present state of the guest's classified information, folded from all events: which objects bear labels, since
// when, from where, under which names; which have ended; and whether the state is complete.
//
// A History knows events and nothing else. The caller knows where they come from, and what a label is called
// (stream/reader.h).
//
// Every event counts, in whatever order the events come. A damaged or hostile journal gives a wrong or incomplete
// state, which says that it is incomplete. It costs no more time than its events, and no more memory than kMaxObjects
// objects; with Keep::lasting, no more than the files that bear labels at one time; with a Source, no more than what
// was asked for since the last forget_changes().
//
// Threads: one at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "event/event.h"
#include "history/object.h"
#include "history/path_tree.h"
#include "history/source.h"

namespace oboro::history {

// How labels came to an object: the events from the classification to the object, oldest first.
struct Chain {
  struct Step {
    uint64_t order = 0;         // the event's place among all (Gain::order)
    uint64_t place = kNoPlace;  // of its line (Gain::place)
    bool operator==(const Step&) const = default;
  };
  uint64_t labels = 0;
  std::vector<Step> steps;
  bool complete = false;  // false: the beginning is unknown (lost records), or it is longer than kMaxChain
};

// An object that labels came to from another one, on whatever way; or a leak of them.
struct Reached {
  ObjectKey to = 0;     // 0: out of the guest, by a leak whose far end is no object
  uint64_t labels = 0;  // those that came on this way
  Chain::Step step;     // the event by which they came
  size_t depth = 0;     // of objects between, plus one
};

struct PersistentFile {
  std::string fs;  // UUID
  std::string fs_type;
  uint64_t inode = 0;
  uint32_t generation = 0;
  uint64_t labels = 0;
  uint64_t id = 0;
  std::vector<std::string> names;  // those that are known, sorted
  std::string last_path;           // if there are none

  bool operator==(const PersistentFile&) const = default;
};

// A History of Keep::lasting as data, from which another one can go on.
struct Lasting {
  // The last rename. The next event may be the other half of an exchange.
  struct Rename {
    std::string fs, from, to;
    uint64_t inode = 0;
    bool operator==(const Rename&) const = default;
  };
  std::vector<PersistentFile> files;  // with labels, ascending by ID
  uint64_t next_id = 1;
  uint64_t last_seq = 0;
  uint32_t boot = 0;
  Rename last_rename;

  bool operator==(const Lasting&) const = default;
};

// What the journal's writer left out of the journal, by its own word (`flood`).
struct LeftOut {
  uint64_t floods = 0;  // reports of it
  uint64_t events = 0;
  uint64_t first_seq = 0, last_seq = 0;  // they are between these
  bool operator==(const LeftOut&) const = default;
};

// Everything that a History knows beside its objects and their names.
struct Figures {
  struct LastRename : Lasting::Rename {
    PathTree::Node displaced = PathTree::kNone;
    bool operator==(const LastRename&) const = default;
  };
  uint64_t order = 0;  // events
  uint64_t last_seq = 0;
  uint64_t next_id = 1;
  uint64_t gains = 0;
  uint64_t gaps = 0;
  uint64_t announced_lost = 0;
  uint64_t out_of_order = 0;
  LeftOut left_out;
  uint64_t leaks = 0;
  uint64_t incomplete_events = 0;
  uint32_t boot = 0;
  std::string sends_refused;
  std::vector<std::string> reasons, warnings;
  std::array<uint64_t, static_cast<size_t>(event::ObjectType::count)> present{};
  LastRename last_rename;
  std::vector<std::string> words{""};  // identities and types of file systems

  bool operator==(const Figures&) const = default;
};

enum class Keep : uint8_t {
  everything,  // present and ended objects, up to a bound, and how labels came to each
  lasting,     // what the next run has to know: no more than present files of file systems that outlive a boot, all of
               // them
};

class History {
 public:
  static constexpr size_t kMaxObjects = 2'000'000;
  static constexpr size_t kMaxReasons = 100;
  static constexpr size_t kMaxChain = 10'000;

  History() : History(Keep::everything) {}
  // max_objects: with Keep::everything.
  explicit History(Keep keep, size_t max_objects = kMaxObjects) : keep_(keep), max_objects_(max_objects) {}
  // Goes on from there. The events that follow then leave the same state as all events would have, of what lasts.
  // Names are an exception: between the halves of an exchange, those of files below the directory that has lost its
  // place are not kept.
  explicit History(const Lasting& lasting, Keep keep = Keep::lasting);
  Lasting lasting() const;
  // Goes on from there, with all objects that the source has. The source must outlive it, and stay as it is but for the
  // changes that are taken from here.
  History(Source& source, Figures figures, const PathTree::Count& names);
  // As the constructor of that name, for one with a source that has nothing.
  void begin_with(const Lasting& lasting);

  // So many IDs may have been given in events that are not among those applied.
  void skip_ids(uint64_t count) { now_.next_id = std::min(now_.next_id + count, kIdMask + 1); }

  // `place`: of its line in the journal.
  void apply(const event::Event& event, uint64_t place = kNoPlace);

  // With a source: what is not as the source has it.
  const std::unordered_set<ObjectKey>& changed() const { return changed_; }
  const PathTree& names() const { return tree_; }
  const Figures& figures() const { return now_; }
  // The source has the changes now. `keep`: what is in memory stays there.
  void forget_changes(bool keep);
  // What is in memory is all that there is from here on: what was asked for before.
  void forget_source();
  size_t in_memory() const { return objects_.size() + tree_.in_memory(); }

  const TrackedObject* find(ObjectKey key) const;
  // The file that has this name now, on any file system; else the latest one that had it.
  const TrackedObject* find_file(std::string_view path) const;
  const TrackedObject* find_process(uint32_t pid) const;  // the latest with this PID
  // Present objects, or ended ones, too, in the order in which they became managed.
  std::vector<const TrackedObject*> objects(event::ObjectType type, bool ended = true) const;
  std::vector<std::string> paths(const TrackedObject& file) const;
  event::Object describe(const TrackedObject& object) const;  // path: its first name, or its last

  bool ends_with_boot(const TrackedObject& object) const;

  // One chain for each set of labels that came in the same way.
  std::vector<Chain> explain(const TrackedObject& object) const;
  // As explain(), of the way from `origin` on, for those labels that came from there.
  std::vector<Chain> explain_from(const TrackedObject& origin, const TrackedObject& object) const;
  // Everything that got labels from there, by its first way to them, which is the one that the events tell of; and
  // what of it has left the guest. Each object stands behind the one that it has them from; at most so many.
  std::vector<Reached> reach(const TrackedObject& origin, size_t most) const;
  // What of the changes a source does not have yet: leaks, each with the object that it let out.
  const std::vector<Gain>& new_leaks() const { return leaks_; }
  std::vector<PersistentFile> persistent_files() const;  // present ones with labels, ascending by ID

  uint64_t present(event::ObjectType type) const { return now_.present[static_cast<size_t>(type)]; }
  uint64_t size() const { return objects_.size() + tree_.size(); }  // objects, and directories and names of files
  uint64_t events() const { return now_.order; }
  uint64_t gains() const { return now_.gains; }  // how often an object got a label: changes with the events of Gains
  uint64_t last_seq() const { return now_.last_seq; }  // the highest
  uint64_t next_id() const { return now_.next_id; }    // no object has had it, or a higher one, kept here or not
  uint32_t boot() const { return now_.boot; }
  uint64_t leaks() const { return now_.leaks; }
  // Why the run refuses everybody's sends (it denies, and the result is incomplete); empty if it does not.
  const std::string& sends_refused() const { return now_.sends_refused; }
  // Records, by the gaps in the numbers or by the producer's own word, whichever says more. Not those left out.
  uint64_t lost() const;
  const LeftOut& left_out() const { return now_.left_out; }
  uint64_t out_of_order() const { return now_.out_of_order; }
  const std::vector<std::string>& incomplete_reasons() const { return now_.reasons; }  // each once, at most kMaxReasons
  const std::vector<std::string>& warnings() const { return now_.warnings; }           // of the run; as the reasons
  uint64_t incomplete_events() const { return now_.incomplete_events; }
  bool complete() const {
    return lost() == 0 && now_.left_out.floods == 0 && now_.out_of_order == 0 && now_.incomplete_events == 0;
  }

 private:
  void count_sequence(const event::Event& event);
  void count_id(const event::Object& object);
  TrackedObject* track(const event::Object& object, const event::Event& event);
  TrackedObject* object_of(ObjectKey key) const;
  TrackedObject* tracked(ObjectKey key);
  TrackedObject* tracked(const event::Object& object) { return tracked(object_key(object.type, object.id)); }
  void spread(const event::Event& event, bool classified);
  void leaked(const event::Event& event);
  void gain(TrackedObject& object, uint64_t labels, ObjectKey from, bool classified);
  void update_process(TrackedObject& object, const event::Subject& subject);
  void rename(const event::Event& event);
  void add_name(TrackedObject& file, std::string_view path);
  void drop_name(ObjectKey file, PathTree::Node node, bool clear, std::string_view path);
  void end(TrackedObject& object);
  void end_boot();
  std::vector<Gain> gains_of(const TrackedObject& object) const;
  Chain way_of(const TrackedObject& object, uint64_t label, ObjectKey origin) const;
  std::vector<Chain> ways_of(const TrackedObject& object, ObjectKey origin) const;
  template <typename Right>
  const TrackedObject* latest(const std::function<void(const Source::Right&)>& candidates, const Right& right) const;
  static void add_once(std::vector<std::string>& list, std::string text);
  void incomplete(std::string reason);
  void left_out(const event::Flood& flood);
  uint32_t intern(const std::string& word);
  void forget(ObjectKey key);

  bool completes_exchange(const event::Event& event) const;

  Keep keep_;
  size_t max_objects_;
  Source* source_ = nullptr;
  Figures now_;
  uint64_t place_ = kNoPlace;  // of the event that is applied
  uint64_t known_ids_ = 1;     // the source has no object with this ID or a higher one
  // Mutable: what comes from the source is no change.
  mutable std::unordered_map<ObjectKey, TrackedObject> objects_;
  std::unordered_set<ObjectKey> changed_;
  PathTree tree_;
  std::map<std::string, uint32_t, std::less<>> word_index_{{"", 0}};
  std::vector<Gain> leaks_;          // not those that the source has
  std::vector<ObjectKey> volatile_;  // what ends with the boot; not what the source has
};

}  // namespace oboro::history
