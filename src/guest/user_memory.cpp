#include "guest/user_memory.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace oboro::guest {
namespace {

constexpr uint64_t kPage = 4096;

}  // namespace

std::optional<Kernel::Place> UserMemory::place_of(uint64_t at) const {
  if (at >= arch::kUserSpaceEnd) return std::nullopt;
  const engine::PhysicalMemory& memory = kernel_.memory();
  const auto found = arch::walk([&](Gpa entry) { return memory.read_u64(entry); }, tables_, Gva(at));
  if (!found || !found->user) return std::nullopt;
  return Kernel::Place{found->address, found->remaining};
}

bool UserMemory::read(uint64_t at, std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::optional<Kernel::Place> place = place_of(at);
    if (!place) return false;
    const size_t part = std::min<uint64_t>(place->size, out.size());
    if (!kernel_.memory().read(place->at, out.data(), part)) return false;
    std::atomic_thread_fence(std::memory_order_acquire);
    // The whole place again: a large page may have become many small ones.
    const std::optional<Kernel::Place> again = place_of(at);
    if (!again || again->at != place->at || again->size < part) return false;
    out = out.subspan(part);
    at += part;
  }
  return true;
}

bool UserMemory::read_string(uint64_t at, size_t max, std::string& out) const {
  out.clear();
  char piece[256];  // copied first, and searched afterwards: the guest may change it in between
  while (out.size() < max) {
    const size_t size = std::min({sizeof piece, max - out.size(), kPage - (at + out.size()) % kPage});
    if (!read(at + out.size(), std::as_writable_bytes(std::span(piece, size)))) return false;
    const void* end = std::memchr(piece, 0, size);
    out.append(piece, end ? static_cast<size_t>(static_cast<const char*>(end) - piece) : size);
    if (end) return true;
  }
  return false;
}

}  // namespace oboro::guest
