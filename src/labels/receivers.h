// Which task may be in the middle of receiving from which carrier.
//
// A process that waits in recv() or read() passed the receive hook before the data came, when its socket or pipe bore
// no label. When the label comes, the sender's side must find that process. So each receive on an unlabelled carrier is
// remembered here first, and looks at the label after. The sender sets the label first, and asks for receivers after.
// One of the two sees the other (both orders are sequentially consistent).
//
// A receiver stays in the table when its call is over, so that most receives write nothing. Therefore two more
// questions are asked about it: is its task in a call that receives (the caller knows), and is this carrier the last
// one that the task has asked for? A task waits for one thing at a time.
//
// The table is set-associative, and has a fixed size. A receiver is replaced only if its task is no longer receiving,
// which the caller decides. If a set is full of live receivers, there is no room for another one, and the caller must
// report it.
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

  // is_receiving(task) -> bool is asked only for a receiver about to be replaced. False: no room.
  template <typename IsReceiving>
  bool remember(Carrier carrier, uint64_t task, IsReceiving&& is_receiving) {
    set_latest(carrier, task);
    Set& set = sets_[index(carrier)];
    for (const Receiver& receiver : set)
      if (receiver.carrier.load(std::memory_order_relaxed) == carrier.key() &&
          receiver.task.load(std::memory_order_relaxed) == task)
        return true;
    for (const bool replace : {false, true}) {
      for (Receiver& receiver : set) {
        uint64_t key = receiver.carrier.load(std::memory_order_relaxed);
        if (key == kBusy || (key != 0 && !replace)) continue;
        if (const uint64_t other = receiver.task.load(std::memory_order_relaxed);
            key != 0 && !moved_on(key, other) && is_receiving(other))
          continue;
        // The thread that gets the place from key to kBusy has it: two threads at the same time take two places.
        if (!receiver.carrier.compare_exchange_strong(key, kBusy, std::memory_order_acquire)) continue;
        receiver.task.store(task, std::memory_order_release);
        receiver.carrier.store(carrier.key(), std::memory_order_seq_cst);
        return true;
      }
    }
    return false;
  }

  // Calls fn(task) for every receiver of the carrier whose task has not asked for another carrier since.
  template <typename Fn>
  void for_each(Carrier carrier, Fn&& fn) const {
    const Set& set = sets_[index(carrier)];
    for (const Receiver& receiver : set) {
      if (receiver.carrier.load(std::memory_order_seq_cst) != carrier.key()) continue;
      const uint64_t task = receiver.task.load(std::memory_order_acquire);
      // Looked at again: if the place has another carrier by now, this task may be that carrier's receiver.
      if (receiver.carrier.load(std::memory_order_relaxed) == carrier.key() && !moved_on(carrier.key(), task)) fn(task);
    }
  }

  void forget(Carrier carrier) {
    for (Receiver& receiver : sets_[index(carrier)])
      if (uint64_t key = carrier.key(); receiver.carrier.load(std::memory_order_relaxed) == key)
        receiver.carrier.compare_exchange_strong(key, 0, std::memory_order_relaxed);
  }
  void clear() {
    for (size_t i = 0; i < kSets; ++i)
      for (Receiver& receiver : sets_[i]) receiver.carrier.store(0, std::memory_order_relaxed);
    for (auto& latest : *latest_) latest.store(0, std::memory_order_relaxed);
  }

 private:
  static constexpr size_t kSets = 4096;
  static constexpr size_t kWays = 8;
  static constexpr uint64_t kBusy = UINT64_MAX;  // being written; no carrier's key
  struct Receiver {
    std::atomic<uint64_t> carrier{0};
    std::atomic<uint64_t> task{0};
  };
  using Set = std::array<Receiver, kWays>;
  static size_t index(Carrier carrier) { return mix(carrier.key()) >> (64 - 12); }
  static uint64_t mix(uint64_t key) { return key * 0x9e3779b97f4a7c15; }

  // The carrier that a task asked for last: the task's tag above a digest of the carrier. Tasks that share a place
  // overwrite each other. Then nothing is known of one of them, and its receivers count. Tags are unique within 256 GiB
  // of kernel addresses.
  using Latest = std::array<std::atomic<uint64_t>, 4096>;
  static uint64_t tag(uint64_t task) { return task >> 6 << 32; }
  static uint64_t entry(uint64_t key, uint64_t task) { return tag(task) | mix(key) >> 32; }
  static size_t place(uint64_t task) { return mix(task) >> (64 - 12); }
  void set_latest(Carrier carrier, uint64_t task) {
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
