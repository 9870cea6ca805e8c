#include "engine/kvm/kernel_mapping.h"

#include <algorithm>
#include <utility>

#include "arch/code.h"

namespace oboro::engine::kvm {
namespace {

constexpr uint64_t kLarge = arch::kLargePageSize;
constexpr unsigned kEntries = arch::kTableEntries;

}  // namespace

Result<KernelMapping> KernelMapping::make(const PhysicalMemory& memory, const arch::PageTables& tables, Gva image,
                                          Gpa start, uint64_t size) {
  const auto directory = arch::large_page_table([&](Gpa at) { return memory.read_u64(at); }, tables, image);
  uint64_t table[kEntries];
  if (!directory || !memory.read(*directory, table, sizeof table))
    return Error{Errc::not_found, "the kernel's page tables cannot be read"};
  const PhysicalWriter writer(memory);
  const auto wanted = static_cast<unsigned>(size / kLarge);
  const auto free = [&](unsigned index) { return table[index] == 0; };
  // From the top down, with a free entry on both sides: neither can a neighbour run into the mapping, nor the mapping
  // into a neighbour.
  for (unsigned first = kEntries - wanted - 1; first > 0; --first) {
    bool fits = true;
    for (unsigned i = first - 1; fits && i <= first + wanted; ++i) fits = i >= kEntries || free(i);
    if (!fits) continue;
    KernelMapping mapping(memory);
    constexpr uint64_t kDirectorySpan = kEntries * kLarge;
    mapping.base_ = Gva((image.value & ~(kDirectorySpan - 1)) + first * kLarge);
    for (unsigned i = 0; i < wanted; ++i) {
      const uint64_t value = arch::large_kernel_page(start + i * kLarge);
      const Gpa at = *directory + (first + i) * sizeof value;
      if (!writer.compare_exchange(at, 0, value)) {
        for (const Entry& entry : mapping.entries_) (void)writer.compare_exchange(entry.at, entry.value, 0);
        return Error{Errc::not_found, "the kernel's page tables cannot be written"};
      }
      mapping.entries_.push_back({at, value});
    }
    return mapping;
  }
  return Error{Errc::limit, "the kernel's page tables have no room near its image"};
}

bool KernelMapping::intact() const {
  for (const Entry& entry : entries_)
    if (const auto now = memory_->read_u64(entry.at); now && *now != entry.value) return false;
  return true;
}

void KernelMapping::set_aside() {
  const PhysicalWriter writer(*memory_);
  for (const Entry& entry : entries_) (void)writer.compare_exchange(entry.at, entry.value, 0);
}

bool KernelMapping::put_back() {
  const PhysicalWriter writer(*memory_);
  for (const Entry& entry : entries_) (void)writer.compare_exchange(entry.at, 0, entry.value);
  return intact();
}

// KVM has taken the old place out of its own tables by now, and vCPUs walk the guest's tables again.
void KernelMapping::lead_to(Gpa start, bool aside) {
  const PhysicalWriter writer(*memory_);
  for (size_t i = 0; i < entries_.size(); ++i) {
    const uint64_t before = std::exchange(entries_[i].value, arch::large_kernel_page(start + i * kLarge));
    if (!aside) (void)writer.compare_exchange(entries_[i].at, before, entries_[i].value);
  }
}

bool KernelMapping::touches(uint64_t start, uint64_t size) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return entry.at.value - start < size; });
}

}  // namespace oboro::engine::kvm
