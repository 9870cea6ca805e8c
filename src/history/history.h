// The present state of the guest's classified information, folded from all events: which objects bear labels, since
// when, from where, under which names; which have ended; and whether the state is complete.
//
// A History knows events and nothing else. The caller knows where they come from, and what a label is called
// (stream/reader.h).
//
// Every event counts, in whatever order the events come. A damaged or hostile journal gives a wrong or incomplete
// state, which says that it is incomplete. It costs no more time than its events, and no more memory than kMaxObjects
// objects; with Keep::lasting, no more than the files that bear labels at one time.
//
// Threads: one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "event/event.h"
#include "history/path_tree.h"

namespace oboro::history {

// Identity of an object: its type in the high byte.
using ObjectKey = uint64_t;
constexpr ObjectKey object_key(event::ObjectType type, uint64_t id) {
  return static_cast<uint64_t>(type) << 56 | (id & ((uint64_t{1} << 56) - 1));
}

// The event that gave an object labels that it did not have.
struct Gain {
  uint64_t order = 0;  // the event's place among all, from 1
  uint64_t labels = 0;
  ObjectKey from = 0;       // 0: classified by a pattern, or unknown
  bool classified = false;  // by a pattern: the beginning of a chain
};

struct FileDetail {
  uint64_t inode = 0;
  uint32_t generation = 0;
  uint32_t fs = 0;       // of History::word
  uint32_t fs_type = 0;  // of History::word
  bool unlinked = false;
  std::vector<PathTree::Node> names;
  std::string last_path;  // once it has no name
};

// The details of everything that is neither file nor process.
struct SocketDetail {
  std::string path;  // of a terminal, a queue, a segment
  std::string protocol;
  event::Endpoint local;
  event::Endpoint remote;
};

struct TrackedObject {
  event::ObjectType type = event::ObjectType::none;
  uint64_t id = 0;
  uint64_t labels = 0;
  uint64_t since_ns = 0;
  uint64_t since_order = 0;
  bool ended = false;
  std::vector<Gain> gains;  // at most 64: each brings a label
  std::variant<std::monostate, FileDetail, event::Subject, SocketDetail> detail;
};

// How labels came to an object: the events (Gain::order) from the classification to the object, oldest first.
struct Chain {
  uint64_t labels = 0;
  std::vector<uint64_t> orders;
  bool complete = false;  // false: the beginning is unknown (lost records), or it is longer than kMaxChain
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

  void apply(const event::Event& event);

  const TrackedObject* find(ObjectKey key) const;
  // The file that has this name now, on any file system; else the latest one that had it.
  const TrackedObject* find_file(std::string_view path) const;
  const TrackedObject* find_process(uint32_t pid) const;  // the latest with this PID
  // Present and ended objects, in the order in which they became managed.
  std::vector<const TrackedObject*> objects(event::ObjectType type) const;
  std::vector<std::string> paths(const TrackedObject& file) const;
  event::Object describe(const TrackedObject& object) const;  // path: its first name, or its last

  // One chain for each set of labels that came in the same way.
  std::vector<Chain> explain(const TrackedObject& object) const;
  std::vector<PersistentFile> persistent_files() const;  // present ones with labels, ascending by ID

  uint64_t present(event::ObjectType type) const { return present_[static_cast<size_t>(type)]; }
  uint64_t size() const { return objects_.size() + tree_.size(); }  // objects, and directories and names of files
  uint64_t events() const { return order_; }
  uint64_t gains() const { return gains_; }  // how often an object got a label: changes with the events that Gain names
  uint64_t last_seq() const { return last_seq_; }  // the highest
  uint64_t next_id() const { return next_id_; }    // no object has had it, or a higher one, kept here or not
  uint32_t boot() const { return boot_; }
  uint64_t leaks() const { return leaks_; }
  // Why the run refuses everybody's sends (it denies, and the result is incomplete); empty if it does not.
  const std::string& sends_refused() const { return sends_refused_; }
  uint64_t lost() const;  // records, by the gaps in the numbers or by the producer's own word, whichever says more
  uint64_t out_of_order() const { return out_of_order_; }
  const std::vector<std::string>& incomplete_reasons() const { return reasons_; }  // each once, at most kMaxReasons
  const std::vector<std::string>& warnings() const { return warnings_; }           // of the run; as the reasons
  uint64_t incomplete_events() const { return incomplete_events_; }
  bool complete() const { return lost() == 0 && out_of_order_ == 0 && incomplete_events_ == 0; }

 private:
  void count_sequence(const event::Event& event);
  void count_id(const event::Object& object);
  TrackedObject* track(const event::Object& object, const event::Event& event);
  TrackedObject* tracked(const event::Object& object);
  void spread(const event::Event& event, bool classified);
  void gain(TrackedObject& object, uint64_t labels, ObjectKey from, bool classified);
  void update_process(TrackedObject& object, const event::Subject& subject);
  void rename(const event::Event& event);
  void add_name(TrackedObject& file, std::string_view path);
  void drop_name(ObjectKey file, PathTree::Node node, bool clear, std::string_view path);
  void end(TrackedObject& object);
  void end_boot();
  static void add_once(std::vector<std::string>& list, std::string text);
  void incomplete(std::string reason);
  uint32_t intern(const std::string& word);
  void forget(ObjectKey key);

  struct LastRename : Lasting::Rename {
    PathTree::Node displaced = PathTree::kNone;
  };
  bool completes_exchange(const event::Event& event) const;

  Keep keep_;
  size_t max_objects_;
  std::unordered_map<ObjectKey, TrackedObject> objects_;
  PathTree tree_;
  std::vector<std::string> words_{""};
  std::map<std::string, uint32_t, std::less<>> word_index_{{"", 0}};
  std::vector<ObjectKey> volatile_;  // what ends with the boot
  std::array<uint64_t, static_cast<size_t>(event::ObjectType::count)> present_{};
  std::vector<std::string> reasons_, warnings_;
  LastRename last_rename_;
  uint64_t incomplete_events_ = 0;
  uint64_t order_ = 0;
  uint64_t last_seq_ = 0;
  uint64_t next_id_ = 1;
  uint64_t gains_ = 0;
  uint64_t gaps_ = 0;
  uint64_t announced_lost_ = 0;
  uint64_t out_of_order_ = 0;
  uint64_t leaks_ = 0;
  std::string sends_refused_;
  uint32_t boot_ = 0;
};

// A file system identity that outlives a boot: a UUID, not "dev 0:23".
bool is_persistent(std::string_view fs);

}  // namespace oboro::history
