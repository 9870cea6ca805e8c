// mm_struct and address_space: which process maps which file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "guest/file.h"
#include "guest/kernel.h"
#include "guest/task.h"

namespace oboro::guest {

// vm_area_struct.vm_flags
inline constexpr uint64_t kVmWrite = 0x2;
inline constexpr uint64_t kVmShared = 0x8;

struct Vma {
  Gva at;
  uint64_t flags(Reader& r) const { return r.get<uint64_t>(at, Field::vma_flags); }
  File file(Reader& r) const { return {r.pointer(at, Field::vma_file)}; }
  Gva mm(Reader& r) const { return r.pointer(at, Field::vma_mm); }
};

// Bounds of the walks below. A walk that reaches its bound is incomplete, and says so.
inline constexpr size_t kMaxVmas = 70000;  // above sysctl vm.max_map_count
inline constexpr size_t kMaxMappers = 16384;

// Appends the inodes of mm's shared, writable file mappings (mm_struct.mm_mt, a maple tree). False if the tree could
// not be walked to its end.
bool shared_writable_inodes(Reader& r, Gva mm, std::vector<Inode>& out);

// Appends the owners (mm_struct.owner) of all mappings of an inode (address_space.i_mmap). False if they could not be
// read to their end.
bool mappers(Reader& r, Inode inode, std::vector<Task>& out);

}  // namespace oboro::guest
