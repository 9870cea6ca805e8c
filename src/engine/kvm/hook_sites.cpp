#include "engine/kvm/hook_sites.h"

#include <cstring>

namespace oboro::engine::kvm {
void HookSites::add(Gva nop, std::byte* bytes, const arch::SiteBytes& ours) {
  Site site{nop, bytes, ours, {}};
  std::memcpy(site.theirs.data(), bytes, arch::kNopSize);
  sites_.push_back(site);
}

void HookSites::install() {
  for (const Site& site : sites_) std::memcpy(site.bytes, site.ours.data(), arch::kNopSize);
}

void HookSites::remove() {
  for (const Site& site : sites_)
    if (std::memcmp(site.bytes, site.ours.data(), arch::kNopSize) == 0)
      std::memcpy(site.bytes, site.theirs.data(), arch::kNopSize);
}

Gva HookSites::overwritten() const {
  for (const Site& site : sites_)
    if (std::memcmp(site.bytes, site.ours.data(), arch::kNopSize) != 0) return site.nop;
  return Gva();
}

}  // namespace oboro::engine::kvm
