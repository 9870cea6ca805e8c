#include "guest/address_space.h"

#include <algorithm>

namespace oboro::guest {
namespace {

// include/linux/maple_tree.h: a node pointer carries its type in bits 3..6; nodes are 256-byte aligned.
enum class MapleType : uint8_t { dense = 0, leaf_64 = 1, range_64 = 2, arange_64 = 3 };
constexpr uint64_t kMapleNodeMask = 0xff;
constexpr size_t kMaxMapleNodes = 8192;

struct NodeShape {
  uint32_t slots, pivots;  // byte offsets
  unsigned slot_count;
};

template <typename Fn>
bool for_each_vma(Reader& r, Gva mm, Fn&& fn) {
  const Profile& p = r.profile();
  const NodeShape range{p[Field::maple_range_slot], p[Field::maple_range_pivot], 16};
  const NodeShape arange{p[Field::maple_arange_slot], p[Field::maple_arange_pivot], 10};

  const uint64_t root = r.get<uint64_t>(mm, Field::mm_mt_root);
  if (root == 0) return !r.failed();
  // A root without the node tag (bit 1) is the one entry of the tree itself.
  std::vector<uint64_t> nodes;
  size_t seen_nodes = 0, seen_vmas = 0;
  const auto visit = [&](Gva vma) {
    if (++seen_vmas > kMaxVmas) return false;
    const bool failed = r.failed();
    const bool ours = Vma{vma}.mm(r) == mm;
    if (!failed) r.clear_failure();  // a stale slot does not make the walk fail
    if (ours) fn(Vma{vma});
    return true;
  };
  if ((root & 3) == 2 && root > 4096)
    nodes.push_back(root);
  else
    return visit(Gva(root));

  while (!nodes.empty()) {
    const uint64_t tagged = nodes.back();
    nodes.pop_back();
    if (++seen_nodes > kMaxMapleNodes) return false;
    const auto type = static_cast<MapleType>((tagged >> 3) & 15);
    const Gva node(tagged & ~kMapleNodeMask);
    if (type != MapleType::leaf_64 && type != MapleType::range_64 && type != MapleType::arange_64) return false;
    const NodeShape& shape = type == MapleType::arange_64 ? arange : range;
    uint64_t words[32];  // MAPLE_NODE_SLOTS: a node is 256 bytes; one copy, so that a change in it meets one reading
    if (!r.bytes(node, words, sizeof words)) return false;
    const auto word = [&](uint32_t base, unsigned i) {
      const size_t index = base / 8 + i;
      return index < std::size(words) ? words[index] : 0;
    };
    for (unsigned i = 0; i < shape.slot_count; ++i) {
      const uint64_t slot = word(shape.slots, i);
      // A zero pivot after the first ends the node: its slot is the last one (its limit is the node's own).
      const bool last = i + 1 >= shape.slot_count || (i > 0 && word(shape.pivots, i) == 0);
      if (slot > 4096) {
        if (type == MapleType::leaf_64) {
          if (r.kernel().is_kernel_pointer(Gva(slot)) && !visit(Gva(slot))) return false;
        } else if (r.kernel().is_kernel_pointer(Gva(slot))) {
          nodes.push_back(slot);
        }
      }
      if (last) break;
    }
  }
  return !r.failed();
}

}  // namespace

bool shared_writable_inodes(Reader& r, Gva mm, std::vector<Inode>& out) {
  const bool complete = for_each_vma(r, mm, [&](Vma vma) {
    const uint64_t flags = vma.flags(r);
    if ((flags & (kVmShared | kVmWrite)) != (kVmShared | kVmWrite)) return;
    const File file = vma.file(r);
    if (file.at) out.push_back(file.inode(r));
  });
  return complete && !r.failed();
}

bool mappers(Reader& r, Inode inode, std::vector<Task>& out) {
  const Profile& p = r.profile();
  const Gva mapping = r.pointer(inode.at, Field::inode_mapping);
  if (!mapping) return !r.failed();
  const Gva tree = mapping + p[Field::address_space_i_mmap];
  const Gva first(r.at<uint64_t>(tree + p[Field::rb_root_node]));
  if (!first) return !r.failed();
  if (!p.has(Field::mm_owner)) return false;

  std::vector<Gva> nodes{first};
  size_t seen = 0;
  while (!nodes.empty()) {
    const Gva node = nodes.back();
    nodes.pop_back();
    if (++seen > kMaxMappers) return false;
    const Vma vma{node - p[Field::vma_shared_rb]};
    const Gva mm = vma.mm(r);
    if (mm) {
      const Task owner{r.pointer(mm, Field::mm_owner)};
      if (owner.at && std::none_of(out.begin(), out.end(), [&](Task t) { return t.at == owner.at; }))
        out.push_back(owner);
    }
    for (const Field side : {Field::rb_node_left, Field::rb_node_right}) {
      const Gva child(r.get<uint64_t>(node, side));
      if (child) nodes.push_back(child);
    }
  }
  return !r.failed();
}

}  // namespace oboro::guest
