// Labels by carrier: a look-up is one hash probe, whatever the number of managed objects, and readers take no lock.
//
// Threads: labels() from any number of threads at any time. set(), erase(), clear() by one thread at a time (the
// caller's lock). A reader sees a carrier's labels from the moment set() has returned.
#pragma once

#include <array>
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
  static constexpr size_t kFirstRoom = 1 << 19;

  // Has room for `most` carriers. It begins with room for first_room of them, and doubles when that is taken: the one
  // set() that meets this takes a time that grows with the size, of which each one before has its share. Memory: two
  // slots of 32 bytes for each carrier that there is room for, used as they fill.
  explicit LabelTable(size_t most, size_t first_room = kFirstRoom);
  ~LabelTable();
  LabelTable(const LabelTable&) = delete;
  LabelTable& operator=(const LabelTable&) = delete;

  uint64_t labels(Carrier carrier) const { return find(carrier).labels; }
  Entry find(Carrier carrier) const;

  // False if the table is full, or this host has no memory for a larger one: the carrier is not in the table then.
  // Nothing is evicted, as that would lose labels.
  bool set(Carrier carrier, Entry entry);
  bool erase(Carrier carrier);
  // Erases all carriers for which keep(Carrier, Entry) is false.
  template <typename Keep>
  void retain(Keep&& keep) {
    Slots& slots = *slots_.load(std::memory_order_relaxed);
    for (size_t i = 0; i <= slots.mask;) {
      const uint64_t key = slots.at[i].key.load(std::memory_order_relaxed);
      if (key != 0 && !keep(Carrier::from_key(key), load(slots.at[i])))
        erase_slot(slots, i);  // another entry may have moved into slot i
      else
        ++i;
    }
  }
  template <typename Fn>
  void for_each(Fn&& fn) const {
    const Slots& slots = *slots_.load(std::memory_order_relaxed);
    for (size_t i = 0; i <= slots.mask; ++i) {
      const uint64_t key = slots.at[i].key.load(std::memory_order_relaxed);
      if (key != 0) fn(Carrier::from_key(key), load(slots.at[i]));
    }
  }
  size_t size() const { return size_.load(std::memory_order_relaxed); }
  size_t room() const { return (slots_.load(std::memory_order_relaxed)->mask + 1) / 2; }

 private:
  struct Slot {
    std::atomic<uint64_t> key;
    std::atomic<uint64_t> labels;
    std::atomic<uint64_t> id;
    uint64_t unused;
  };
  struct Slots {
    Slot* at;
    size_t mask;
  };
  static uint64_t hash(uint64_t key);
  static Entry load(const Slot& slot) {
    return {slot.labels.load(std::memory_order_acquire), slot.id.load(std::memory_order_acquire)};
  }
  Slots* add_slots(size_t room);
  bool grow();
  void erase_slot(Slots& slots, size_t slot);

  std::array<Slots, 32> all_{};  // those that were outgrown, whose memory is given back, and the ones in use
  size_t count_ = 0;
  std::atomic<Slots*> slots_{nullptr};
  size_t most_;
  std::atomic<size_t> size_{0};
  // Odd while entries move (erase shifts back those that follow; all of them move to more slots). A reader that meets
  // this looks again.
  std::atomic<uint64_t> version_{0};
};

}  // namespace oboro::labels
