#include "engine/kvm/hook_sites.h"

#include <algorithm>

namespace oboro::engine::kvm {

bool HookSites::add(Gva nop, Gpa at, const arch::SiteBytes& ours) {
  Site site{nop, at, ours, {}};
  if (!writer_.may_write(at, arch::kNopSize) || !writer_.memory().read(at, site.theirs.data(), arch::kNopSize))
    return false;
  sites_.push_back(site);
  return true;
}

void HookSites::install() {
  for (const Site& site : sites_) (void)writer_.write(site.at, std::as_bytes(std::span(site.ours)));
}

void HookSites::remove() {
  arch::SiteBytes now;
  for (const Site& site : sites_)
    if (writer_.memory().read(site.at, now.data(), arch::kNopSize) && now == site.ours)
      (void)writer_.write(site.at, std::as_bytes(std::span(site.theirs)));  // RAM that is gone needs no putting back
}

bool HookSites::put_back() {
  bool all = true;
  arch::SiteBytes now;
  for (const Site& site : sites_)
    all &= writer_.memory().read(site.at, now.data(), arch::kNopSize) && now == site.theirs &&
           writer_.write(site.at, std::as_bytes(std::span(site.ours)));
  return all;
}

bool HookSites::touches(uint64_t start, uint64_t size) const {
  return std::any_of(sites_.begin(), sites_.end(), [&](const Site& site) { return site.at.value - start < size; });
}

std::vector<Gva> HookSites::nops() const {
  std::vector<Gva> all;
  for (const Site& site : sites_) all.push_back(site.nop);
  return all;
}

Gva HookSites::overwritten() const {
  arch::SiteBytes now;
  for (const Site& site : sites_)
    if (writer_.memory().read(site.at, now.data(), arch::kNopSize) && now != site.ours) return site.nop;
  return Gva();
}

}  // namespace oboro::engine::kvm
