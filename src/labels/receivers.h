// Who may be in the middle of receiving from what.
//
// A process that waits in recv() or read() passed the receive hook before the data came, when its socket or pipe bore
// no label. When the label comes, the sender's side must find that process. So each receive on an unlabelled carrier
// leaves a note here first and looks at the label after; the sender sets the label first and reads the notes after: one
// of the two sees the other (both orders are sequentially consistent).
//
// A note stays when its call is over, so that most receives write nothing. Therefore two more things are asked of a
// note: is its task in a call that receives (the caller knows), and is this what the task has asked for last? A task
// waits for one thing at a time.
//
// A set-associative table of fixed size; a note is replaced only if its receiver is no longer receiving, which the
// caller decides; if a set is full of live ones, the note cannot be kept and the caller must report it.
//
// Threads: all from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "labels/carrier.h"

namespace oboro::labels {

class Receivers {
 public:
  Receivers() : sets_(std::make_unique<Set[]>(kSets)), latest_(std::make_unique<Latest>()) {}

  // is_receiving(task) -> bool is asked only for a note about to be replaced. False: no room.
  template <typename IsReceiving>
  bool note(Carrier carrier, uint64_t task, IsReceiving&& is_receiving) {
    remember(carrier, task);
    Set& set = sets_[index(carrier)];
    for (const Note& note : set)
      if (note.carrier.load(std::memory_order_relaxed) == carrier.key() &&
          note.task.load(std::memory_order_relaxed) == task)
        return true;
    for (const bool replace : {false, true}) {
      for (Note& note : set) {
        uint64_t key = note.carrier.load(std::memory_order_relaxed);
        if (key == kBusy || (key != 0 && !replace)) continue;
        if (const uint64_t other = note.task.load(std::memory_order_relaxed);
            key != 0 && !moved_on(key, other) && is_receiving(other))
          continue;
        // Whoever gets from key to kBusy has the note: two that come at the same time take two.
        if (!note.carrier.compare_exchange_strong(key, kBusy, std::memory_order_acquire)) continue;
        note.task.store(task, std::memory_order_release);
        note.carrier.store(carrier.key(), std::memory_order_seq_cst);
        return true;
      }
    }
    return false;
  }

  // fn(task) for every note of carrier whose task has not asked for something else since.
  template <typename Fn>
  void for_each(Carrier carrier, Fn&& fn) const {
    const Set& set = sets_[index(carrier)];
    for (const Note& note : set) {
      if (note.carrier.load(std::memory_order_seq_cst) != carrier.key()) continue;
      const uint64_t task = note.task.load(std::memory_order_acquire);
      // Looked at again: if the note has become another's meanwhile, this task may be the other's receiver.
      if (note.carrier.load(std::memory_order_relaxed) == carrier.key() && !moved_on(carrier.key(), task)) fn(task);
    }
  }

  void forget(Carrier carrier) {
    for (Note& note : sets_[index(carrier)])
      if (uint64_t key = carrier.key(); note.carrier.load(std::memory_order_relaxed) == key)
        note.carrier.compare_exchange_strong(key, 0, std::memory_order_relaxed);
  }
  void clear() {
    for (size_t i = 0; i < kSets; ++i)
      for (Note& note : sets_[i]) note.carrier.store(0, std::memory_order_relaxed);
    for (auto& latest : *latest_) latest.store(0, std::memory_order_relaxed);
  }

 private:
  static constexpr size_t kSets = 4096;
  static constexpr size_t kWays = 8;
  static constexpr uint64_t kBusy = UINT64_MAX;  // being written; no carrier's key
  struct Note {
    std::atomic<uint64_t> carrier{0};
    std::atomic<uint64_t> task{0};
  };
  using Set = std::array<Note, kWays>;
  static size_t index(Carrier carrier) { return mix(carrier.key()) >> (64 - 12); }
  static uint64_t mix(uint64_t key) { return key * 0x9e3779b97f4a7c15; }

  // What a task asked for last: its tag above a digest of the carrier. Tasks that share a place overwrite each other;
  // then nothing is known of the one, and its notes count. Tags are unique within 256 GiB of kernel addresses.
  using Latest = std::array<std::atomic<uint64_t>, 4096>;
  static uint64_t tag(uint64_t task) { return task >> 6 << 32; }
  static uint64_t entry(uint64_t key, uint64_t task) { return tag(task) | mix(key) >> 32; }
  static size_t place(uint64_t task) { return mix(task) >> (64 - 12); }
  void remember(Carrier carrier, uint64_t task) {
    std::atomic<uint64_t>& latest = (*latest_)[place(task)];
    if (const uint64_t now = entry(carrier.key(), task); latest.load(std::memory_order_relaxed) != now)
      latest.store(now, std::memory_order_seq_cst);
  }
  bool moved_on(uint64_t key, uint64_t task) const {
    const uint64_t latest = (*latest_)[place(task)].load(std::memory_order_seq_cst);
    return latest >> 32 == tag(task) >> 32 && latest != entry(key, task);
  }

  std::unique_ptr<Set[]> sets_;
  std::unique_ptr<Latest> latest_;
};

}  // namespace oboro::labels
