// Labels by carrier: a look-up is one hash probe, whatever the number of managed objects, and readers take no lock.
//
// Threads: labels() from any number of threads at any time. set(), erase(), clear() by one thread at a time (the
// caller's lock). A reader sees a carrier's labels from the moment set() has returned.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "labels/carrier.h"

namespace oboro::labels {

struct Entry {
  uint64_t labels = 0;  // 0: not managed
  uint64_t id = 0;      // the object's identity in the journal
};

class LabelTable {
 public:
  // Has room for `capacity` carriers. The memory is reserved at once, and used as it fills (32 bytes a slot).
  explicit LabelTable(size_t capacity);
  ~LabelTable();
  LabelTable(const LabelTable&) = delete;
  LabelTable& operator=(const LabelTable&) = delete;

  uint64_t labels(Carrier carrier) const { return find(carrier).labels; }
  Entry find(Carrier carrier) const;

  // False if the table is full: the carrier is not in the table then. Nothing is evicted, as that would lose labels.
  bool set(Carrier carrier, Entry entry);
  bool erase(Carrier carrier);
  // Erases all carriers for which keep(Carrier, Entry) is false.
  template <typename Keep>
  void retain(Keep&& keep) {
    for (size_t i = 0; i <= mask_;) {
      const uint64_t key = slots_[i].key.load(std::memory_order_relaxed);
      if (key != 0 && !keep(Carrier::from_key(key), load(i)))
        erase_slot(i);  // another entry may have moved into slot i
      else
        ++i;
    }
  }
  template <typename Fn>
  void for_each(Fn&& fn) const {
    for (size_t i = 0; i <= mask_; ++i) {
      const uint64_t key = slots_[i].key.load(std::memory_order_relaxed);
      if (key != 0) fn(Carrier::from_key(key), load(i));
    }
  }
  size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  struct Slot {
    std::atomic<uint64_t> key;
    std::atomic<uint64_t> labels;
    std::atomic<uint64_t> id;
    uint64_t unused;
  };
  static uint64_t hash(uint64_t key);
  Entry load(size_t slot) const {
    return {slots_[slot].labels.load(std::memory_order_acquire), slots_[slot].id.load(std::memory_order_acquire)};
  }
  void erase_slot(size_t slot);

  Slot* slots_ = nullptr;
  size_t mask_ = 0;
  size_t limit_ = 0;
  std::atomic<size_t> size_{0};
  // Odd while entries move (erase shifts back those that follow). A reader that did not find its key looks again.
  std::atomic<uint64_t> version_{0};
};

}  // namespace oboro::labels
