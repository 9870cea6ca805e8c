// The diffusion state: which carriers bear which labels, and how labels go from one to another. Pure logic: knows
// nothing of engines, guest memory, or files.
//
// Threads: labels(), the receivers and the places from any thread without a lock; everything else under lock().
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "labels/carrier.h"
#include "labels/label_table.h"
#include "labels/named_places.h"
#include "labels/receivers.h"

namespace oboro::labels {

struct Spread {
  uint64_t added = 0;  // labels that the target did not have; 0: nothing changed
  uint64_t from_id = 0;
  uint64_t to_id = 0;
  bool full = false;  // there was no room: the labels are NOT recorded, and the caller must report that
};

// Told of each carrier that becomes managed, before anyone can see it as managed; and of each that ceases to be,
// afterwards. Called under the lock.
class Marks {
 public:
  virtual ~Marks() = default;
  virtual void add(Carrier carrier) = 0;
  virtual void remove(Carrier carrier) = 0;
  virtual void clear() = 0;  // all carriers cease to be managed
  // Sends are refused (Carriers::refuse_sends): from now on every process that sends is of interest, until
  // remove_senders() or clear().
  virtual void add_senders() = 0;
  virtual void remove_senders() = 0;
};

// Reasons to refuse sends that are recognised by their addresses. There was no room for labels:
inline constexpr char kTableFull[] = "the table of managed objects is full";
// This one has nothing to do with labels:
inline constexpr char kNoJournal[] = "the journal cannot be written";

class Carriers {
 public:
  explicit Carriers(size_t capacity, uint64_t first_id, const NamedPlaces::Content& places = {})
      : table_(capacity), places_(places), next_id_(first_id) {}

  // The thread that holds the lock may take it again.
  std::unique_lock<std::recursive_mutex> lock() { return std::unique_lock(mutex_); }

  uint64_t labels(Carrier c) const { return table_.labels(c); }
  Entry find(Carrier c) const { return table_.find(c); }
  bool any_file() const { return files_.load(std::memory_order_relaxed) != 0; }
  Receivers& receivers() { return receivers_; }
  // Where the files with labels are, by all names that were reported.
  NamedPlaces& places() { return places_; }

  // From now on `marks` is told of changes. First it is told of all carriers that are managed already. Null: nobody is
  // told. Must outlive this.
  void set_marks(Marks* marks);

  // The labels that `from` bears and `to` does not.
  uint64_t missing(Carrier from, Carrier to, Carrier alias = {}) const;
  // The labels of `from` go to `to`. For a file, `alias` is its other carrier (inode and identity bear the same entry).
  Spread spread(Carrier from, Carrier to, Carrier alias = {});
  // Puts labels on a carrier from outside (classification; restoring).
  Spread add(uint64_t labels, Carrier to, Carrier alias = {}, uint64_t id = 0);
  // `to` gets the entry that the same file has by another carrier, which is no news (the inode of a known file is
  // loaded).
  bool adopt(Carrier known, Carrier to);
  bool erase(Carrier c);
  // A new boot: only files of persistent file systems, chosen by the caller, stay.
  template <typename Keep>
  void retain(Keep&& keep) {
    table_.retain(keep);
    recount();
    set_marks(marks_);
    receivers_.clear();
    for (auto& entry : reported_leaks_) entry.store(0, std::memory_order_relaxed);
  }

  // True the first time for this digest of (process, destination, labels). It may be true again after other digests.
  bool first_leak(uint64_t digest) {
    return reported_leaks_[digest % reported_leaks_.size()].exchange(digest, std::memory_order_relaxed) != digest;
  }

  // From now on nothing may leave the guest: labels are known to be missing, say, so any process may hold data that
  // must not leave. A new boot does not end this: files outlive boots, and their labels may be among those that are
  // missing. why: a string literal; null: sends are allowed again. Takes the lock.
  void refuse_sends(const char* why);
  // The reason; null as long as sends are not refused.
  const char* sends_refused() const { return sends_refused_.load(std::memory_order_acquire); }

  uint64_t next_id() const { return next_id_; }
  uint64_t count(CarrierKind kind) const { return counts_[static_cast<size_t>(kind)].load(std::memory_order_relaxed); }

 private:
  void recount();
  bool set(Carrier c, Entry entry);
  void count_up(Carrier c, int64_t by);

  std::recursive_mutex mutex_;
  LabelTable table_;
  Marks* marks_ = nullptr;
  Receivers receivers_;
  NamedPlaces places_;
  uint64_t next_id_;
  std::atomic<uint64_t> files_{0};
  std::atomic<const char*> sends_refused_{nullptr};
  std::array<std::atomic<uint64_t>, 16> counts_{};
  std::array<std::atomic<uint64_t>, 4096> reported_leaks_{};
};

}  // namespace oboro::labels
