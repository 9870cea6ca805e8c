#include "engine/kvm/hook_sites.h"

#include <algorithm>
#include <cstring>

namespace oboro::engine::kvm {
namespace {

constexpr SiteBytes kNop = {0x0f, 0x1f, 0x44, 0x00, 0x00};
// ENDBR64, and what apply_seal_endbr() of different kernels puts in its place (arch/x86/include/asm/ibt.h).
constexpr std::array<uint8_t, 4> kBefore[] = {
    {0xf3, 0x0f, 0x1e, 0xfa}, {0x66, 0x0f, 0x1f, 0x00}, {0x0f, 0x1f, 0x40, 0xd6}};

bool starts_with(std::span<const std::byte> bytes, std::span<const uint8_t> what) {
  return bytes.size() >= what.size() && std::memcmp(bytes.data(), what.data(), what.size()) == 0;
}

}  // namespace

std::optional<unsigned> nop_offset(std::span<const std::byte> entry) {
  if (starts_with(entry, kNop)) return 0;
  for (const auto& before : kBefore)
    if (starts_with(entry, before) && starts_with(entry.subspan(before.size()), kNop))
      return static_cast<unsigned>(before.size());
  return std::nullopt;
}

SiteBytes jump_to(Gva nop, Gva target) {
  SiteBytes jump{0xe9};
  const auto distance = static_cast<uint32_t>(target.value - (nop.value + kNopSize));
  std::memcpy(jump.data() + 1, &distance, sizeof distance);
  return jump;
}

void HookSites::add(Gva nop, std::byte* bytes, const SiteBytes& ours) {
  Site site{nop, bytes, ours, {}};
  std::memcpy(site.theirs.data(), bytes, kNopSize);
  sites_.push_back(site);
}

void HookSites::install() {
  for (const Site& site : sites_) std::memcpy(site.bytes, site.ours.data(), kNopSize);
}

void HookSites::remove() {
  for (const Site& site : sites_)
    if (std::memcmp(site.bytes, site.ours.data(), kNopSize) == 0) std::memcpy(site.bytes, site.theirs.data(), kNopSize);
}

Gva HookSites::overwritten() const {
  for (const Site& site : sites_)
    if (std::memcmp(site.bytes, site.ours.data(), kNopSize) != 0) return site.nop;
  return Gva();
}

}  // namespace oboro::engine::kvm
