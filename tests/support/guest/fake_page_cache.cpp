#include <stdexcept>

#include "tests/support/guest/fake_guest.h"

namespace oboro::fake {
namespace {

constexpr unsigned kSlotBits = 6;
constexpr uint64_t kSlots = 1 << kSlotBits;

// include/linux/xarray.h
constexpr uint64_t node_entry(Gva node) { return node.value | 2; }
constexpr uint64_t sibling_entry(uint64_t slot) { return slot << 2 | 2; }

}  // namespace

Gva FakeGuest::page_of(Gva at) {
  const uint64_t size = profile[Field::page_size];
  if (!vmemmap_) {
    vmemmap_ = allocate(memory.bytes().size() / kPageSize * size);
    write(symbol(Symbol::vmemmap_base), vmemmap_);
  }
  return vmemmap_ + physical(at).value / kPageSize * size;
}

void FakeGuest::set_up_to_date(Gva folio, bool yes) {
  set(folio, Field::folio_flags, ~uint64_t{0} ^ (yes ? 0 : uint64_t{1} << profile[Field::pg_uptodate]));
}

Gva FakeGuest::cache_head(Gva inode) {
  return Gva(get(inode, Field::inode_mapping)) + profile[Field::address_space_pages];
}

Gva FakeGuest::cache_slot(Gva inode, uint64_t index) {
  Gva at = cache_head(inode);
  for (uint64_t shift = kSlotBits; shift > 0;) {
    const Gva node(word(at) - 2);
    shift = get(node, Field::xa_node_shift) & 0xff;
    at = node + profile[Field::xa_node_slots] + (index >> shift & (kSlots - 1)) * 8;
  }
  return at;
}

Gva FakeGuest::cache(Gva inode, std::string_view bytes, unsigned order, unsigned levels) {
  const uint64_t in_folio = uint64_t{1} << order;
  const uint64_t pages = (bytes.size() / kPageSize + in_folio) / in_folio * in_folio;
  if (pages > kSlots) throw std::length_error("the fake page cache has one leaf");
  const Gva frames = allocate(pages * kPageSize);
  write(frames, bytes.data(), bytes.size());
  set(inode, Field::inode_size, uint64_t{bytes.size()});
  write(cache_head(inode), page_of(frames));  // all that there is without a node: the first page
  for (unsigned level = 0; level < levels; ++level) {
    const Gva node = allocate();
    write(node + profile[Field::xa_node_shift], static_cast<uint8_t>(level * kSlotBits));
    write(node + profile[Field::xa_node_slots], word(cache_head(inode)));
    write(cache_head(inode), node_entry(node));
  }
  for (uint64_t i = 0; i < pages; i += in_folio) {
    const Gva folio = page_of(frames + i * kPageSize);
    set_up_to_date(folio, true);
    for (uint64_t j = 0; levels > 0 && j < in_folio; ++j)
      write(cache_slot(inode, i + j), j == 0 ? folio.value : sibling_entry(i));
  }
  return frames;
}

}  // namespace oboro::fake
