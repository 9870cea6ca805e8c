#include "guest/kernel.h"

#include <algorithm>

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

std::span<const std::byte> Kernel::bytes_at(Gva va) const {
  if (is_direct_map(va)) {
    const auto bytes = memory_.from(Gpa(va.value - direct_map_));
    if (!bytes.empty()) return bytes;
  }
  const uint64_t in_image = va.value - layout_.image_base.value;
  if (in_image < layout_.image_size) {
    const auto bytes = memory_.from(layout_.image_start + in_image);
    return bytes.first(std::min<uint64_t>(bytes.size(), layout_.image_size - in_image));
  }
  if (!is_kernel_pointer(va)) return {};
  const auto found = arch::walk([this](Gpa at) { return memory_.read_u64(at); }, layout_.tables, va);
  if (!found) return {};
  const auto bytes = memory_.from(found->address);
  return bytes.first(std::min<uint64_t>(bytes.size(), found->remaining));
}

bool Kernel::read_in_parts(Gva va, void* out, size_t size) const {
  auto* to = static_cast<std::byte*>(out);
  while (size > 0) {
    const auto bytes = bytes_at(va);
    if (bytes.empty()) return false;
    const size_t part = std::min(bytes.size(), size);
    std::memcpy(to, bytes.data(), part);
    to += part;
    size -= part;
    va = va + part;
  }
  return true;
}

std::string Reader::string(Gva va, size_t max) {
  std::string out;
  while (out.size() < max) {
    const auto bytes = ++reads_ <= kMaxReads ? kernel_.bytes_at(va + out.size()) : std::span<const std::byte>();
    if (bytes.empty()) {
      failed_ = true;
      return out;
    }
    // Copied first, searched afterwards: the guest may change it in between.
    char copy[256];
    const size_t part = std::min({bytes.size(), sizeof copy, max - out.size()});
    std::memcpy(copy, bytes.data(), part);  // NOLINT(bugprone-not-null-terminated-result): its end is looked for
    const char* end = static_cast<const char*>(std::memchr(copy, 0, part));
    out.append(copy, end ? static_cast<size_t>(end - copy) : part);
    if (end) return out;
  }
  return out;
}

}  // namespace oboro::guest
