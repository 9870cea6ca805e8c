#include "labels/label_table.h"

#include <algorithm>
#include <bit>
#include <new>
#include <sys/mman.h>

namespace oboro::labels {

uint64_t LabelTable::hash(uint64_t key) {
  // The guest chooses its addresses. A multiplicative mix spreads the strides of slabs. A guest that crafts collisions
  // slows its own look-ups, within the table's bound.
  key ^= key >> 31;
  key *= 0x9e3779b97f4a7c15;
  key ^= key >> 29;
  key *= 0xbf58476d1ce4e5b9;
  return key ^ (key >> 32);
}

LabelTable::LabelTable(size_t most, size_t first_room) : most_(most) {
  slots_ = add_slots(std::min(most, first_room));
  if (!slots_) throw std::bad_alloc();  // only at start-up
}

LabelTable::~LabelTable() {
  for (const Slots& slots : all_)
    if (slots.at) munmap(slots.at, (slots.mask + 1) * sizeof(Slot));
}

// Null: this host has no memory.
LabelTable::Slots* LabelTable::add_slots(size_t room) {
  const size_t count = std::bit_ceil(room * 2 < 64 ? size_t{64} : room * 2);
  void* memory =
      mmap(nullptr, count * sizeof(Slot), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  Slots& added = all_[count_++];
  added = {static_cast<Slot*>(memory), count - 1};  // zero pages are valid empty slots
  return &added;
}

bool LabelTable::grow() {
  Slots& from = *slots_.load(std::memory_order_relaxed);
  Slots* const to = count_ < all_.size() ? add_slots(from.mask + 1) : nullptr;
  if (!to) return false;
  for (size_t i = 0; i <= from.mask; ++i) {
    const uint64_t key = from.at[i].key.load(std::memory_order_relaxed);
    if (key == 0) continue;
    size_t place = hash(key) & to->mask;
    while (to->at[place].key.load(std::memory_order_relaxed) != 0) place = (place + 1) & to->mask;
    const Entry entry = load(from.at[i]);
    to->at[place].labels.store(entry.labels, std::memory_order_relaxed);
    to->at[place].id.store(entry.id, std::memory_order_relaxed);
    to->at[place].key.store(key, std::memory_order_relaxed);
  }
  const uint64_t version = version_.load(std::memory_order_relaxed);
  version_.store(version + 1, std::memory_order_relaxed);
  slots_.store(to, std::memory_order_seq_cst);
  version_.store(version + 2, std::memory_order_release);
  // A reader that is still there finds nothing in it, and that the version is another one.
  madvise(from.at, (from.mask + 1) * sizeof(Slot), MADV_DONTNEED);
  return true;
}

Entry LabelTable::find(Carrier carrier) const {
  for (;;) {
    const uint64_t version = version_.load(std::memory_order_acquire);
    // Sequentially consistent, as is the load of a key: Receivers relies on a note being set before this look-up. On
    // x86 these are plain loads.
    const Slots& slots = *slots_.load(std::memory_order_seq_cst);
    for (size_t i = hash(carrier.key()) & slots.mask;; i = (i + 1) & slots.mask) {
      const uint64_t key = slots.at[i].key.load(std::memory_order_seq_cst);
      if (key == carrier.key()) {
        const Entry entry = load(slots.at[i]);
        if (version_.load(std::memory_order_relaxed) == version && !(version & 1)) return entry;
        break;
      }
      if (key == 0) {
        if (version_.load(std::memory_order_relaxed) == version && !(version & 1)) return {};
        break;
      }
    }
  }
}

bool LabelTable::set(Carrier carrier, Entry entry) {
  Slots* slots = slots_.load(std::memory_order_relaxed);
  for (size_t i = hash(carrier.key()) & slots->mask;; i = (i + 1) & slots->mask) {
    Slot& slot = slots->at[i];
    const uint64_t key = slot.key.load(std::memory_order_relaxed);
    if (key == carrier.key()) {
      slot.labels.store(entry.labels, std::memory_order_seq_cst);
      slot.id.store(entry.id, std::memory_order_relaxed);
      return true;
    }
    if (key != 0) continue;
    if (size() >= most_) return false;
    if (size() >= (slots->mask + 1) / 2) return grow() && set(carrier, entry);
    slot.labels.store(entry.labels, std::memory_order_relaxed);
    slot.id.store(entry.id, std::memory_order_relaxed);
    slot.key.store(carrier.key(), std::memory_order_seq_cst);
    size_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
}

void LabelTable::erase_slot(Slots& slots, size_t hole) {
  const uint64_t version = version_.load(std::memory_order_relaxed);
  version_.store(version + 1, std::memory_order_relaxed);  // ordered before what follows by the release stores
  // Close the gap: move back every entry of the run that the gap would cut off from its home slot.
  for (size_t next = (hole + 1) & slots.mask;; next = (next + 1) & slots.mask) {
    const uint64_t key = slots.at[next].key.load(std::memory_order_relaxed);
    if (key == 0) break;
    const size_t home = hash(key) & slots.mask;
    const bool reachable = ((next - home) & slots.mask) < ((next - hole) & slots.mask);
    if (reachable) continue;
    const Entry entry = load(slots.at[next]);
    slots.at[hole].labels.store(entry.labels, std::memory_order_release);
    slots.at[hole].id.store(entry.id, std::memory_order_release);
    slots.at[hole].key.store(key, std::memory_order_release);
    hole = next;
  }
  slots.at[hole].key.store(0, std::memory_order_release);
  slots.at[hole].labels.store(0, std::memory_order_release);
  size_.fetch_sub(1, std::memory_order_relaxed);
  version_.store(version + 2, std::memory_order_release);
}

bool LabelTable::erase(Carrier carrier) {
  Slots& slots = *slots_.load(std::memory_order_relaxed);
  for (size_t i = hash(carrier.key()) & slots.mask;; i = (i + 1) & slots.mask) {
    const uint64_t key = slots.at[i].key.load(std::memory_order_relaxed);
    if (key == 0) return false;
    if (key != carrier.key()) continue;
    erase_slot(slots, i);
    return true;
  }
}

}  // namespace oboro::labels
