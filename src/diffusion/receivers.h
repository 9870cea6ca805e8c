// Who may be in the middle of receiving from what.
//
// A process that waits in recv() or read() passed the receive hook before the data came, when its socket or pipe bore
// no label. When the label comes, the sender's side must find that process. So each receive on an unlabelled carrier
// leaves a note here first and looks at the label after; the sender sets the label first and reads the notes after: one
// of the two sees the other (both orders are sequentially consistent).
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

#include "diffusion/carrier.h"

namespace oboro::diffusion {

class Receivers {
 public:
  Receivers() : sets_(std::make_unique<Set[]>(kSets)) {}

  // is_receiving(task) -> bool is asked only for a note about to be replaced. False: no room.
  template <typename IsReceiving>
  bool note(Carrier carrier, uint64_t task, IsReceiving&& is_receiving) {
    Set& set = sets_[index(carrier)];
    size_t free = kWays;
    for (size_t i = 0; i < kWays; ++i) {
      const uint64_t key = set[i].carrier.load(std::memory_order_relaxed);
      if (key == carrier.key() && set[i].task.load(std::memory_order_relaxed) == task) return true;
      if (key == 0 && free == kWays) free = i;
    }
    for (size_t i = 0; i < kWays && free == kWays; ++i)
      if (!is_receiving(set[i].task.load(std::memory_order_relaxed))) free = i;
    if (free == kWays) return false;
    set[free].task.store(task, std::memory_order_relaxed);
    set[free].carrier.store(carrier.key(), std::memory_order_seq_cst);
    return true;
  }

  // fn(task) for every note of carrier.
  template <typename Fn>
  void for_each(Carrier carrier, Fn&& fn) const {
    const Set& set = sets_[index(carrier)];
    for (const Note& note : set)
      if (note.carrier.load(std::memory_order_seq_cst) == carrier.key()) fn(note.task.load(std::memory_order_relaxed));
  }

  void forget(Carrier carrier) {
    for (Note& note : sets_[index(carrier)])
      if (note.carrier.load(std::memory_order_relaxed) == carrier.key())
        note.carrier.store(0, std::memory_order_relaxed);
  }
  void clear() {
    for (size_t i = 0; i < kSets; ++i)
      for (Note& note : sets_[i]) note.carrier.store(0, std::memory_order_relaxed);
  }

 private:
  static constexpr size_t kSets = 4096;
  static constexpr size_t kWays = 8;
  struct Note {
    std::atomic<uint64_t> carrier{0};
    std::atomic<uint64_t> task{0};
  };
  using Set = std::array<Note, kWays>;
  static size_t index(Carrier carrier) { return (carrier.key() * 0x9e3779b97f4a7c15) >> (64 - 12); }

  std::unique_ptr<Set[]> sets_;
};

}  // namespace oboro::diffusion
