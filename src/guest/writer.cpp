#include "guest/writer.h"

#include <algorithm>

namespace oboro::guest {

std::optional<Kernel::Place> Writer::place_of(Gva at) const {
  return kernel_.is_kernel_pointer(at) ? kernel_.place_of(at) : std::nullopt;
}

bool Writer::write(Gva at, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const std::optional<Kernel::Place> place = place_of(at);
    if (!place) return false;
    const size_t part = std::min<uint64_t>(place->size, bytes.size());
    if (!writer_.write(place->at, bytes.first(part))) return false;
    bytes = bytes.subspan(part);
    at = at + part;
  }
  return true;
}

bool Writer::set_bits(Gva at, uint64_t bits) const {
  const std::optional<Kernel::Place> place = place_of(at);
  return place && writer_.set_bits(place->at, bits);
}

bool Writer::clear_bits(Gva at, uint64_t bits) const {
  const std::optional<Kernel::Place> place = place_of(at);
  return place && writer_.clear_bits(place->at, bits);
}

}  // namespace oboro::guest
