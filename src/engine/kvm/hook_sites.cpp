#include "engine/kvm/hook_sites.h"

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

bool HookSites::add(Gva nop, Gpa at, const SiteBytes& ours) {
  Site site{nop, at, ours, {}};
  if (!writer_.may_write(at, kNopSize) || !writer_.memory().read(at, site.theirs.data(), kNopSize)) return false;
  sites_.push_back(site);
  return true;
}

void HookSites::install() {
  for (const Site& site : sites_) (void)writer_.write(site.at, std::as_bytes(std::span(site.ours)));
}

void HookSites::remove() {
  SiteBytes now;
  for (const Site& site : sites_)
    if (writer_.memory().read(site.at, now.data(), kNopSize) && now == site.ours)
      (void)writer_.write(site.at, std::as_bytes(std::span(site.theirs)));  // what is gone needs no putting back
}

Gva HookSites::overwritten() const {
  SiteBytes now;
  for (const Site& site : sites_)
    if (writer_.memory().read(site.at, now.data(), kNopSize) && now != site.ours) return site.nop;
  return Gva();
}

}  // namespace oboro::engine::kvm
