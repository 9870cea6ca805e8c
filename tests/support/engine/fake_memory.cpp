#include "tests/support/engine/fake_memory.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>
#include <sys/mman.h>
#include <utility>

#include "arch/arch.h"

namespace oboro::fake {

FakeMemory::FakeMemory(size_t size) : size_(size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<std::byte*>(memory);
  set_regions();
}

FakeMemory::~FakeMemory() { munmap(base_, size_); }

void FakeMemory::set_regions() {
  engine::PhysicalMemory::Regions regions;
  const auto add = [&](uint64_t start, uint64_t size, Page what) {
    if (size == 0 || what == Page::hidden) return;
    if (what == Page::remote)
      regions.push_back({.start = start, .unmapped = size});
    else
      regions.push_back({.start = start, .mapped = {base_ + start, size}, .read_only = what == Page::rom});
  };
  const Page rule = all_ram_is_remote ? Page::remote : Page::mapped;
  uint64_t start = 0;
  for (const auto& [page, what] : pages_) {
    add(start, page - start, rule);
    add(page, kPageSize, what);
    start = page + kPageSize;
  }
  add(start, size_ - start, rule);
  ram_.exchange(std::move(regions));
}

void FakeMemory::set(Gpa page, Page what) {
  pages_[page.value & ~(kPageSize - 1)] = what;
  set_regions();
}

void FakeMemory::show_all() {
  pages_.clear();
  set_regions();
}

// No more than a page at a time, as far as a call of such an engine may reach. A word is read whole: others may be
// changing it by compare_exchange().
size_t FakeMemory::read(Gpa at, std::span<std::byte> out) {
  ++asked_;
  if (out.size() == sizeof(uint64_t) && at.value % sizeof(uint64_t) == 0) {
    const uint64_t word = std::atomic_ref(*reinterpret_cast<uint64_t*>(base_ + at.value)).load();
    std::memcpy(out.data(), &word, sizeof word);
    return sizeof word;
  }
  const size_t part = std::min(out.size(), kPageSize - at.value % kPageSize);
  std::memcpy(out.data(), base_ + at.value, part);
  return part;
}

size_t FakeMemory::write(Gpa at, std::span<const std::byte> bytes) {
  ++asked_;
  const size_t part = std::min(bytes.size(), kPageSize - at.value % kPageSize);
  std::memcpy(base_ + at.value, bytes.data(), part);
  return part;
}

std::optional<uint64_t> FakeMemory::compare_exchange(Gpa at, uint64_t expected, uint64_t desired) {
  ++asked_;
  std::atomic_ref(*reinterpret_cast<uint64_t*>(base_ + at.value)).compare_exchange_strong(expected, desired);
  return expected;
}

void FakeMemory::use_tables(Gpa root, Gpa start, uint64_t size) {
  root_ = root.value;
  next_table_ = start.value;
  tables_end_ = start.value + size;
}

uint64_t* FakeMemory::entry(Gva va, int leaf_level) {
  uint64_t table = root_;
  const uint64_t flags = arch::kPresent | (va.value >> 63 ? 0 : arch::kUserPage);
  for (int level = 3;; --level) {
    auto* slot = reinterpret_cast<uint64_t*>(base_ + table) + ((va.value >> (12 + 9 * level)) & 511);
    if (level == leaf_level) return slot;
    if (!(*slot & arch::kPresent)) {
      if (next_table_ >= tables_end_) throw std::length_error("no room for page tables");
      *slot = next_table_ | flags;
      next_table_ += kPageSize;
    }
    table = *slot & arch::kFrameMask;
  }
}

void FakeMemory::map(Gva va, Gpa page) {
  *entry(va, 0) = page.value | arch::kPresent | (va.value >> 63 ? 0 : arch::kUserPage);
}

void FakeMemory::map_large(Gva va, Gpa page) { *entry(va, 1) = page.value | arch::kPresent | arch::kLargePage; }

void FakeMemory::unmap(Gva va) {
  uint64_t* large = entry(va, 1);
  if (*large & arch::kLargePage)
    *large = 0;
  else
    *entry(va, 0) = 0;
}

}  // namespace oboro::fake
