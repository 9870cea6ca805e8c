#include "tests/support/engine/fake_memory.h"

#include <new>
#include <stdexcept>
#include <sys/mman.h>

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
  ram_.exchange({});
  uint64_t start = 0;
  for (const uint64_t page : hidden_) {
    ram_.add(Gpa(start), std::span(base_ + start, page - start));
    start = page + kPageSize;
  }
  ram_.add(Gpa(start), std::span(base_ + start, size_ - start));
}

void FakeMemory::hide(Gpa page) {
  hidden_.insert(page.value & ~(kPageSize - 1));
  set_regions();
}

void FakeMemory::show_all() {
  hidden_.clear();
  set_regions();
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
