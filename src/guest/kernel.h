// A running Linux guest kernel: its memory by virtual address, and its structures by profile. Never writes.
//
// Every value is from the guest, and so hostile. A read that fails gives zero, and raises the failed() flag of the
// Reader that asked. Zero is a null pointer or an empty set in all kernel structures that are read here, so a walk
// ends. The caller then reports the result as incomplete.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "arch/arch.h"
#include "base/address.h"
#include "engine/physical_memory.h"
#include "guest/profile/profile.h"

namespace oboro::guest {

// Where the kernel has put itself in this boot.
struct Layout {
  Gva image_base;           // first mapped byte of the kernel image (KASLR applied), 2 MiB aligned
  Gpa image_start;          // its physical address: the image is contiguous
  uint64_t image_size = 0;  // bytes
  arch::PageTables tables;  // any tables whose kernel half is complete; used until the kernel's own are known
};

class Kernel {
 public:
  // memory must outlive this. The direct map's base is read from the guest here.
  Kernel(const engine::PhysicalMemory& memory, Profile profile, const Layout& layout);

  const Profile& profile() const { return profile_; }
  const Layout& layout() const { return layout_; }
  Gva symbol(Symbol symbol) const;  // null if the kernel has none; a per-CPU offset is returned as it is
  bool is_direct_map(Gva va) const { return va.value - direct_map_ < direct_map_size_; }
  // The place in RAM of an address in the direct map; nothing for other addresses.
  std::optional<Gpa> physical(Gva va) const {
    return is_direct_map(va) ? std::optional(Gpa(va.value - direct_map_)) : std::nullopt;
  }
  bool is_kernel_pointer(Gva va) const { return arch::is_kernel_address(va); }

  // Copies out.size() bytes at va. False if any of them is not mapped to RAM.
  bool read(Gva va, void* out, size_t size) const {
    // Nearly all structures are in the direct map. For these there is no page walk, and with a constant size no call.
    return (is_direct_map(va) && memory_.read_mapped(Gpa(va.value - direct_map_), out, size)) ||
           read_in_parts(va, out, size);
  }
  // The guest physical address of va, and how many bytes follow there as they do at va: to the end of the page, of the
  // image or of the direct map. nullopt: va is not mapped. (memory() knows whether that address is RAM.)
  struct Place {
    Gpa at;
    uint64_t size;
  };
  std::optional<Place> place_of(Gva va) const;
  const engine::PhysicalMemory& memory() const { return memory_; }

 private:
  bool read_in_parts(Gva va, void* out, size_t size) const;

  const engine::PhysicalMemory& memory_;
  Profile profile_;
  Layout layout_;
  uint64_t direct_map_ = 0;
  uint64_t direct_map_size_ = 0;  // 0 until its base is known
};

// Reads structures for one intercepted operation. It has a budget: however a guest forges its structures (cycles, huge
// counts), all walks of one operation together end after kMaxReads reads. (That is some 20 ms with an engine that has
// RAM mapped.) Further reads fail.
class Reader {
 public:
  static constexpr uint32_t kMaxReads = 1 << 20;

  explicit Reader(const Kernel& kernel) : kernel_(kernel) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  // A reader for another part of the same operation, that has failures of its own, but shares this one's budget. This
  // one must outlive it.
  Reader another() { return Reader(kernel_, reads_); }

  const Kernel& kernel() const { return kernel_; }
  const Profile& profile() const { return kernel_.profile(); }
  bool failed() const { return failed_; }
  void fail() { failed_ = true; }
  void clear_failure() { failed_ = false; }

  bool bytes(Gva va, void* out, size_t size) {
    if (++*reads_ <= kMaxReads && kernel_.read(va, out, size)) return true;
    failed_ = true;
    return false;
  }
  template <typename T>
  T at(Gva va) {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    return bytes(va, &value, sizeof value) ? value : T{};
  }
  // A member of the structure at `object`.
  template <typename T>
  T get(Gva object, Field field) {
    const uint32_t offset = profile()[field];
    if (offset == Profile::kMissing || !object) {
      failed_ = true;
      return T{};
    }
    return at<T>(object + offset);
  }
  Gva pointer(Gva object, Field field) { return Gva(get<uint64_t>(object, field)); }
  // A NUL-terminated string, cut after max bytes.
  std::string string(Gva va, size_t max);

  // Of the whole operation.
  uint32_t reads() const { return *reads_; }
  bool exhausted() const { return *reads_ > kMaxReads; }

 private:
  Reader(const Kernel& kernel, uint32_t* reads) : kernel_(kernel), reads_(reads) {}

  const Kernel& kernel_;
  uint32_t own_reads_ = 0;
  uint32_t* reads_ = &own_reads_;
  bool failed_ = false;
};

}  // namespace oboro::guest
