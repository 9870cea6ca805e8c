// Guest RAM for tests: bytes of this process, long-mode page tables in them, and pages that are not what others are.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "base/address.h"
#include "engine/physical_memory.h"

namespace oboro::fake {

inline constexpr uint64_t kPageSize = 4096;

// Whether all RAM of guests made from now on is remote. True in the programs that run a test a second time
// (oboro_test's REMOTE_RAM): remote_ram.cpp sets it.
inline bool all_ram_is_remote = false;

class FakeMemory final : private engine::MemoryAccess {
 public:
  // A page, for who reads it through ram(). mapped: the rule. remote: RAM that the tracer's process has not mapped, so
  // that the engine is asked for it each time. rom: it is read as RAM, and not written to. hidden: no RAM.
  enum class Page { mapped, remote, rom, hidden };

  explicit FakeMemory(size_t size);
  ~FakeMemory();
  FakeMemory(const FakeMemory&) = delete;
  FakeMemory& operator=(const FakeMemory&) = delete;

  const engine::PhysicalMemory& ram() const { return ram_; }
  std::span<std::byte> bytes() { return {base_, size_}; }

  // Not while another thread reads.
  void set(Gpa page, Page what);
  void hide(Gpa page) { set(page, Page::hidden); }
  void show_all();  // all pages are as the rule is
  // How often the engine was asked for RAM that is remote.
  unsigned asked() const { return asked_; }

  // Pages for page tables come from [start, start + size); the top-level table lies at root.
  void use_tables(Gpa root, Gpa start, uint64_t size);
  void map(Gva va, Gpa page);        // 4 KiB; below the kernel's half, the user's
  void map_large(Gva va, Gpa page);  // 2 MiB
  void unmap(Gva va);                // the 4 KiB or 2 MiB that it is mapped with
  uint64_t root() const { return root_; }

 private:
  size_t read(Gpa at, std::span<std::byte> out) override;
  size_t write(Gpa at, std::span<const std::byte> bytes) override;
  std::optional<uint64_t> compare_exchange(Gpa at, uint64_t expected, uint64_t desired) override;

  uint64_t* entry(Gva va, int leaf_level);
  void set_regions();

  std::byte* base_ = nullptr;
  size_t size_ = 0;
  std::map<uint64_t, Page> pages_;  // those that are not as the rule is
  std::atomic<unsigned> asked_{0};
  engine::PhysicalMemory ram_{this};
  uint64_t root_ = 0, next_table_ = 0, tables_end_ = 0;
};

}  // namespace oboro::fake
