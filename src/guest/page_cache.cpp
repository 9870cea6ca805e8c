#include "guest/page_cache.h"

#include <algorithm>
#include <atomic>
#include <optional>

namespace oboro::guest {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kMaxFrames = uint64_t{1} << 40;  // 52 bits of physical address
constexpr unsigned kSlotBits = 6;                   // XA_CHUNK_SHIFT without CONFIG_BASE_SMALL
constexpr uint64_t kSlots = 1 << kSlotBits;
constexpr unsigned kMaxShift = 60;

// An entry of an xarray is told by its low bits. Other entries are no page: numbers (swap and shadow entries), and the
// internal ones for "retry" and "zero".
bool is_folio(uint64_t entry) { return entry != 0 && (entry & 3) == 0; }
bool is_node(uint64_t entry) { return (entry & 3) == 2 && entry > 4096; }
bool is_sibling(uint64_t entry) { return (entry & 3) == 2 && entry >> 2 < kSlots - 1; }

struct Found {
  Gva folio;
  uint64_t page = 0;  // which of the folio's pages
  bool operator==(const Found&) const = default;
};

// The level goes down by one from a node to the next, so this ends however the nodes are linked.
std::optional<Found> find(Reader& r, Gva mapping, uint64_t index) {
  auto entry = r.get<uint64_t>(mapping, Field::address_space_pages);
  if (is_folio(entry)) return index == 0 ? std::optional(Found{Gva(entry), 0}) : std::nullopt;
  std::optional<unsigned> level;  // the level of the next node
  while (is_node(entry)) {
    const Gva node(entry - 2);
    const unsigned shift = r.get<uint8_t>(node, Field::xa_node_shift);
    if (shift > kMaxShift || shift % kSlotBits != 0 || (level && shift != *level)) return {};
    if (!level && index >> shift >= kSlots) return {};
    const Gva slots = node + r.profile()[Field::xa_node_slots];
    uint64_t slot = index >> shift & (kSlots - 1);
    entry = r.at<uint64_t>(slots + slot * 8);
    if (is_sibling(entry)) {  // the folio is in an earlier slot
      if (entry >> 2 >= slot) return {};
      slot = entry >> 2;
      entry = r.at<uint64_t>(slots + slot * 8);
      if (!is_folio(entry)) return {};
    }
    if (is_folio(entry)) {
      const uint64_t first = ((index >> shift & ~(kSlots - 1)) | slot) << shift;
      return Found{Gva(entry), index - first};
    }
    if (shift == 0) return {};
    level = shift - kSlotBits;
  }
  return {};
}

class Frames {
 public:
  explicit Frames(Reader& r)
      : r_(r),
        vmemmap_(r.at<uint64_t>(r.kernel().symbol(Symbol::vmemmap_base))),
        direct_map_(r.at<uint64_t>(r.kernel().symbol(Symbol::page_offset_base))),
        page_size_(r.profile()[Field::page_size]) {}

  // The page's bytes, in the direct map; null if they are not in RAM.
  Gva bytes_of(const Found& found) const {
    const uint64_t offset = found.folio.value - vmemmap_;
    if (page_size_ == 0 || offset % page_size_ != 0 || found.page >= kMaxFrames) return {};
    const uint64_t frame = offset / page_size_ + found.page;
    if (frame >= kMaxFrames) return {};
    const Gva at(direct_map_ + frame * kPageSize);
    // The base that the guest names for its direct map must agree with the one that is known.
    return r_.kernel().physical(at) == Gpa(frame * kPageSize) ? at : Gva();
  }

 private:
  Reader& r_;
  uint64_t vmemmap_, direct_map_, page_size_;
};

// The bytes of a folio that is being read from disk come later.
bool is_up_to_date(Reader& r, Gva folio) {
  const uint32_t bit = r.profile()[Field::pg_uptodate];
  return bit < 64 && (r.get<uint64_t>(folio, Field::folio_flags) >> bit & 1);
}

}  // namespace

bool read_cached(Reader& r, Inode file, uint64_t offset, std::span<std::byte> out) {
  const Profile& p = r.profile();
  if (!p.has(Symbol::vmemmap_base) || !p.has(Field::page_size) || !p.has(Field::xa_node_slots)) return false;
  const Gva mapping = r.pointer(file.at, Field::inode_mapping);
  const Frames frames(r);
  while (!out.empty() && !r.failed()) {
    const uint64_t index = offset / kPageSize;
    const size_t part = std::min<size_t>(out.size(), kPageSize - offset % kPageSize);
    const auto found = find(r, mapping, index);
    const Gva bytes = found ? frames.bytes_of(*found) : Gva();
    if (!bytes || !is_up_to_date(r, found->folio) || !r.bytes(bytes + offset % kPageSize, out.data(), part))
      return false;
    // The kernel may have taken the page away during the copy, and put other data there.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (find(r, mapping, index) != found || !is_up_to_date(r, found->folio)) return false;
    offset += part;
    out = out.subspan(part);
  }
  return !r.failed();
}

}  // namespace oboro::guest
