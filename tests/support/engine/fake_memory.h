// Guest RAM for tests: bytes of this process, long-mode page tables in them, and pages that can be taken away.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>

#include "base/address.h"
#include "engine/physical_memory.h"

namespace oboro::fake {

inline constexpr uint64_t kPageSize = 4096;

class FakeMemory {
 public:
  explicit FakeMemory(size_t size);
  ~FakeMemory();
  FakeMemory(const FakeMemory&) = delete;
  FakeMemory& operator=(const FakeMemory&) = delete;

  const engine::PhysicalMemory& ram() const { return ram_; }
  std::span<std::byte> bytes() { return {base_, size_}; }

  // From now on reads of this page fail, as if there were no RAM. Not while another thread reads.
  void hide(Gpa page);
  void show_all();

  // Pages for page tables come from [start, start + size); the top-level table lies at root.
  void use_tables(Gpa root, Gpa start, uint64_t size);
  void map(Gva va, Gpa page);        // 4 KiB; below the kernel's half, the user's
  void map_large(Gva va, Gpa page);  // 2 MiB
  void unmap(Gva va);                // the 4 KiB or 2 MiB that it is mapped with
  uint64_t root() const { return root_; }

 private:
  uint64_t* entry(Gva va, int leaf_level);
  void set_regions();

  std::byte* base_ = nullptr;
  size_t size_ = 0;
  std::set<uint64_t> hidden_;
  engine::PhysicalMemory ram_;
  uint64_t root_ = 0, next_table_ = 0, tables_end_ = 0;
};

}  // namespace oboro::fake
