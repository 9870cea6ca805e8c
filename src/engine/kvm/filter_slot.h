// The memory in which calls are filtered: a slot of the tracer's own in the guest's physical memory. It is read-only
// and executable for the guest's kernel, and within reach of a jmp from all of the kernel's code. The slot is this
// process's memory, not the guest's RAM: engine::PhysicalMemory does not know it, and this class writes it. It holds a
// stub for each hook, and the tables that stubs ask:
//
//   offset 0        the stubs
//   kSenderMask     32 bits. The ID of a process that sends is masked with them before it is looked up: with all bits
//                   set; or, once every sender is of interest, with none, so that every sender looks up the bit of
//                   ID 0, which is set then. (A stub has to mask an ID anyhow, so a mask in memory adds no instruction.
//                   It has a page to itself. To set all bits of the table instead would stop every process at every
//                   read and write, too.)
//   kProcesses      a bit for each process ID: of interest
//   kObjects        a Bloom filter of object keys (two bits each)
//   kNames          known names, direct-mapped by dentry, 32 bytes each: KnownName
//
// Threads: place() and everything of Filter by one thread at a time. Guest vCPUs read at any time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "engine/filter.h"

namespace oboro::engine::kvm {

class FilterSlot final : public Filter {
 public:
  static constexpr size_t kSize = size_t{4} << 20;
  static constexpr size_t kProcesses = size_t{512} << 10;
  static constexpr size_t kSenderMask = kProcesses - 4096;
  static constexpr unsigned kProcessBits = 22;  // PID_MAX_LIMIT: exact, no two processes share a bit
  static constexpr size_t kObjects = size_t{1} << 20;
  static constexpr unsigned kObjectBits = 23;
  static constexpr size_t kNames = size_t{2} << 20;
  static constexpr unsigned kNameBits = 16;

  static Result<std::unique_ptr<FilterSlot>> create();
  ~FilterSlot() override;
  FilterSlot(const FilterSlot&) = delete;
  FilterSlot& operator=(const FilterSlot&) = delete;

  std::span<std::byte> memory() { return {memory_, kSize}; }
  // Sets where the guest's kernel sees the slot. To be called before place(). Throws away all stubs.
  void set_base(Gva base);
  Gva base() const { return base_; }

  struct Stub {
    Gva entry;  // what the hook jumps to
    Gva trap;   // RIP when it stops the vCPU: at an OUT, after which the function goes on
  };
  // Adds a stub that goes on at `back`. nullopt: no room, or the program asks for what cannot be expressed.
  std::optional<Stub> place(const FilterProgram& program, const FilterLayout& layout, uint8_t port, Gva back);

  void add_process(uint32_t tgid) override;
  void remove_process(uint32_t tgid) override;
  void add_object(uint64_t key) override;
  void remove_object(uint64_t key) override;
  void add_senders() override;
  void remove_senders() override;
  void add_name(const KnownName& name) override;
  void remove_name(uint64_t dentry) override;
  void clear() override;

 private:
  explicit FilterSlot(std::byte* memory);
  void set_sender_mask(uint32_t mask);
  void set_bit(size_t table, uint64_t bit, bool value);
  void object_bits(uint64_t key, uint64_t (&bits)[2]) const;

  std::byte* memory_;
  Gva base_{};
  size_t used_ = 0;
  bool senders_ = false;
  std::vector<uint8_t> counts_;  // of objects for each bit of kObjects; 255 stays
};

}  // namespace oboro::engine::kvm
