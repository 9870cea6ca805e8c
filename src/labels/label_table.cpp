#include "labels/label_table.h"

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

LabelTable::LabelTable(size_t capacity) {
  const size_t count = std::bit_ceil(capacity * 2 < 64 ? size_t{64} : capacity * 2);
  mask_ = count - 1;
  limit_ = capacity;
  void* memory =
      mmap(nullptr, count * sizeof(Slot), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();  // only at start-up
  slots_ = static_cast<Slot*>(memory);               // zero pages are valid empty slots
}

LabelTable::~LabelTable() { munmap(slots_, (mask_ + 1) * sizeof(Slot)); }

Entry LabelTable::find(Carrier carrier) const {
  for (;;) {
    const uint64_t version = version_.load(std::memory_order_acquire);
    for (size_t i = hash(carrier.key()) & mask_;; i = (i + 1) & mask_) {
      // Sequentially consistent: Receivers relies on a note being set before this look-up. On x86 these are plain
      // loads.
      const uint64_t key = slots_[i].key.load(std::memory_order_seq_cst);
      if (key == carrier.key()) {
        const Entry entry = load(i);
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
  for (size_t i = hash(carrier.key()) & mask_;; i = (i + 1) & mask_) {
    const uint64_t key = slots_[i].key.load(std::memory_order_relaxed);
    if (key == carrier.key()) {
      slots_[i].labels.store(entry.labels, std::memory_order_seq_cst);
      slots_[i].id.store(entry.id, std::memory_order_relaxed);
      return true;
    }
    if (key != 0) continue;
    if (size() >= limit_) return false;
    slots_[i].labels.store(entry.labels, std::memory_order_relaxed);
    slots_[i].id.store(entry.id, std::memory_order_relaxed);
    slots_[i].key.store(carrier.key(), std::memory_order_seq_cst);
    size_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
}

void LabelTable::erase_slot(size_t hole) {
  const uint64_t version = version_.load(std::memory_order_relaxed);
  version_.store(version + 1, std::memory_order_relaxed);  // ordered before what follows by the release stores
  // Close the gap: move back every entry of the run that the gap would cut off from its home slot.
  for (size_t next = (hole + 1) & mask_;; next = (next + 1) & mask_) {
    const uint64_t key = slots_[next].key.load(std::memory_order_relaxed);
    if (key == 0) break;
    const size_t home = hash(key) & mask_;
    const bool reachable = ((next - home) & mask_) < ((next - hole) & mask_);
    if (reachable) continue;
    const Entry entry = load(next);
    slots_[hole].labels.store(entry.labels, std::memory_order_release);
    slots_[hole].id.store(entry.id, std::memory_order_release);
    slots_[hole].key.store(key, std::memory_order_release);
    hole = next;
  }
  slots_[hole].key.store(0, std::memory_order_release);
  slots_[hole].labels.store(0, std::memory_order_release);
  size_.fetch_sub(1, std::memory_order_relaxed);
  version_.store(version + 2, std::memory_order_release);
}

bool LabelTable::erase(Carrier carrier) {
  for (size_t i = hash(carrier.key()) & mask_;; i = (i + 1) & mask_) {
    const uint64_t key = slots_[i].key.load(std::memory_order_relaxed);
    if (key == 0) return false;
    if (key != carrier.key()) continue;
    erase_slot(i);
    return true;
  }
}

}  // namespace oboro::labels
