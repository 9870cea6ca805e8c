#include "engine/kvm/kernel_mapping.h"

#include <atomic>

#include "arch/arch.h"

namespace oboro::engine::kvm {
namespace {

constexpr uint64_t kLarge = uint64_t{2} << 20;
constexpr uint64_t kAccessed = 0x20;
constexpr unsigned kEntries = 512;

std::atomic_ref<uint64_t> word(std::byte* at) { return std::atomic_ref(*reinterpret_cast<uint64_t*>(at)); }

// The table that maps `va` by pages of 2 MiB.
std::optional<Gpa> page_middle_directory(const PhysicalMemory& memory, uint64_t cr3, bool five_levels, Gva va) {
  uint64_t table = cr3 & arch::kFrameMask;
  for (int level = five_levels ? 4 : 3; level > 1; --level) {
    const auto entry = memory.read_u64(Gpa(table + ((va.value >> (12 + 9 * level)) & 511) * 8));
    if (!entry || !(*entry & arch::kPresent) || (*entry & arch::kLargePage)) return std::nullopt;
    table = *entry & arch::kFrameMask;
  }
  return Gpa(table);
}

}  // namespace

Result<KernelMapping> KernelMapping::make(const MemoryMap& map, uint64_t cr3, bool five_levels, Gva image, Gpa start,
                                          uint64_t size) {
  // With page-table isolation the kernel's own table is the lower one of a pair (PTI_USER_PGTABLE_BIT).
  const auto directory = page_middle_directory(map.memory(), cr3 & ~uint64_t{0x1000}, five_levels, image);
  std::byte* table = directory ? map.writable(*directory, kEntries * 8) : nullptr;
  if (!table) return Error{Errc::not_found, "the kernel's page tables cannot be read"};
  const auto wanted = static_cast<unsigned>(size / kLarge);
  const auto free = [&](unsigned index) { return word(table + index * 8).load() == 0; };
  // From the top down, with a free entry on both sides: nothing runs into it, nor it into anything.
  for (unsigned first = kEntries - wanted - 1; first > 0; --first) {
    bool fits = true;
    for (unsigned i = first - 1; fits && i <= first + wanted; ++i) fits = i >= kEntries || free(i);
    if (!fits) continue;
    KernelMapping mapping;
    constexpr uint64_t kDirectorySpan = kEntries * kLarge;
    mapping.base_ = Gva((image.value & ~(kDirectorySpan - 1)) + first * kLarge);
    for (unsigned i = 0; i < wanted; ++i) {
      const uint64_t value = (start.value + i * kLarge) | arch::kPresent | arch::kLargePage | kAccessed;
      std::byte* at = table + (first + i) * 8;
      word(at).store(value);
      mapping.entries_.push_back({at, value});
    }
    return mapping;
  }
  return Error{Errc::limit, "the kernel's page tables have no room near its image"};
}

bool KernelMapping::intact() const {
  for (const Entry& entry : entries_)
    if (word(entry.at).load() != entry.value) return false;
  return true;
}

}  // namespace oboro::engine::kvm
