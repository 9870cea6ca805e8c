#include "guest/kernel.h"

#include <algorithm>
#include <cstring>

namespace oboro::guest {

Kernel::Kernel(const engine::PhysicalMemory& memory, Profile profile, const Layout& layout)
    : memory_(memory), profile_(std::move(profile)), layout_(layout) {
  const Gva top = symbol(Symbol::init_top_pgt);
  const uint64_t offset = top.value - layout_.image_base.value;
  if (top && offset < layout_.image_size) layout_.tables.root = layout_.image_start.value + offset;
  uint64_t base = 0;
  if (read(symbol(Symbol::page_offset_base), &base, sizeof base) && is_kernel_pointer(Gva(base))) {
    direct_map_ = base;
    direct_map_size_ = memory_.end();
  }
}

Gva Kernel::symbol(Symbol symbol) const {
  const SymbolValue& value = profile_[symbol];
  switch (value.kind) {
    case SymbolValue::Kind::relative:
      return layout_.image_base + value.value;
    case SymbolValue::Kind::absolute:
      return Gva(value.value);
    case SymbolValue::Kind::missing:
      break;
  }
  return Gva();
}

std::optional<Kernel::Place> Kernel::place_of(Gva va) const {
  if (is_direct_map(va)) {
    const uint64_t offset = va.value - direct_map_;
    return Place{Gpa(offset), direct_map_size_ - offset};
  }
  const uint64_t in_image = va.value - layout_.image_base.value;
  if (in_image < layout_.image_size) return Place{layout_.image_start + in_image, layout_.image_size - in_image};
  if (!is_kernel_pointer(va)) return std::nullopt;
  const auto found = arch::walk([this](Gpa at) { return memory_.read_u64(at); }, layout_.tables, va);
  return found ? std::optional(Place{found->address, found->remaining}) : std::nullopt;
}

bool Kernel::read_in_parts(Gva va, void* out, size_t size) const {
  auto* to = static_cast<std::byte*>(out);
  while (size > 0) {
    const std::optional<Place> place = place_of(va);
    if (!place) return false;
    const size_t part = std::min<uint64_t>(place->size, size);
    if (!memory_.read(place->at, to, part)) return false;
    to += part;
    size -= part;
    va = va + part;
  }
  return true;
}

std::string Reader::string(Gva va, size_t max) {
  constexpr uint64_t kPage = 4096;
  std::string out;
  while (out.size() < max) {
    // Copied first, and searched afterwards: the guest may change the string in between. A piece ends with its page:
    // the memory behind the string's end need not be there.
    char copy[256];
    const Gva at = va + out.size();
    const size_t part = std::min({sizeof copy, max - out.size(), kPage - at.value % kPage});
    if (!bytes(at, copy, part)) return out;
    const char* end = static_cast<const char*>(std::memchr(copy, 0, part));
    out.append(copy, end ? static_cast<size_t>(end - copy) : part);
    if (end) return out;
  }
  return out;
}

}  // namespace oboro::guest
