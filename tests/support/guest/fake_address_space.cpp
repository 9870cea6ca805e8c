#include <algorithm>

#include "tests/support/guest/fake_guest.h"

namespace oboro::fake {
namespace {

// A node's address is 256-byte aligned; its type and that it is one are in the low bits.
constexpr uint64_t kLeaf = 1, kRange = 2, kArange = 3, kRoot = 2, kNode = 4;
uint64_t tagged(Gva node, uint64_t type, bool root) { return node.value | type << 3 | kNode | (root ? kRoot : 0); }

}  // namespace

Gva FakeGuest::vma(Gva mm, Gva file, uint64_t flags) {
  const Gva vma = allocate();
  set(vma, Field::vma_mm, mm);
  set(vma, Field::vma_file, file);
  set(vma, Field::vma_flags, flags);
  return vma;
}

void FakeGuest::set_vmas(Gva mm, const std::vector<Gva>& vmas, unsigned levels) {
  std::vector<uint64_t> entries;
  entries.reserve(vmas.size());
  for (const Gva vma : vmas) entries.push_back(vma.value);
  // Two entries to a node, but that the topmost takes what is left: many levels need few mappings.
  for (unsigned level = 0; level < levels; ++level) {
    const bool top = level + 1 == levels;
    const uint64_t type = level == 0 ? kLeaf : level % 2 ? kArange : kRange;
    const Field slots = type == kArange ? Field::maple_arange_slot : Field::maple_range_slot;
    const Field pivots = type == kArange ? Field::maple_arange_pivot : Field::maple_range_pivot;
    const size_t per_node = top ? entries.size() : 2;
    std::vector<uint64_t> nodes;
    for (size_t i = 0; i < entries.size(); i += per_node) {
      const Gva node = allocate();
      const size_t count = std::min(per_node, entries.size() - i);
      for (size_t j = 0; j < count; ++j) {
        write(node + profile[slots] + j * 8, entries[i + j]);
        if (j + 1 < count) write(node + profile[pivots] + j * 8, uint64_t{(j + 1) * 0x1000 - 1});
      }
      nodes.push_back(tagged(node, type, top));
    }
    entries = nodes;
  }
  set(mm, Field::mm_mt_root, entries.empty() ? uint64_t{0} : entries[0]);
}

void FakeGuest::set_mappers(Gva inode, const std::vector<Gva>& vmas) {
  // A tree in the manner of a heap: the children of node i are 2i+1 and 2i+2.
  const auto node = [&](size_t i) { return i < vmas.size() ? vmas[i] + profile[Field::vma_shared_rb] : Gva(); };
  for (size_t i = 0; i < vmas.size(); ++i) {
    set(node(i), Field::rb_node_left, node(2 * i + 1));
    set(node(i), Field::rb_node_right, node(2 * i + 2));
  }
  const Gva mapping(get(inode, Field::inode_mapping));
  set(mapping + profile[Field::address_space_i_mmap], Field::rb_root_node, node(0));
}

}  // namespace oboro::fake
