#include "engine/kvm/kernel_mapping.h"

#include <atomic>

#include "arch/code.h"

namespace oboro::engine::kvm {
namespace {

constexpr uint64_t kLarge = arch::kLargePageSize;
constexpr unsigned kEntries = arch::kTableEntries;

std::atomic_ref<uint64_t> word(std::byte* at) { return std::atomic_ref(*reinterpret_cast<uint64_t*>(at)); }

}  // namespace

Result<KernelMapping> KernelMapping::make(const MemoryMap& map, const arch::PageTables& tables, Gva image, Gpa start,
                                          uint64_t size) {
  const auto read = [&](Gpa at) { return map.memory().read_u64(at); };
  const auto directory = arch::large_page_table(read, tables, image);
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
      const uint64_t value = arch::large_kernel_page(start + i * kLarge);
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
