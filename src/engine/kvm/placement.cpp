#include "engine/kvm/placement.h"

#include "arch/code.h"

namespace oboro::engine::kvm {

Placed KvmPlacement::place(const Wanted& wanted) {
  forget();
  std::string not_filtered;
  if (way_ == Way::debug) return place_breakpoints(wanted);
  if (way_ == Way::filter) {
    Result<Placed> placed = place_stubs(wanted);
    if (placed) {
      sites_.install();
      return std::move(*placed);
    }
    not_filtered = placed.error().message;
    forget();
  }
  Placed placed = place_traps(wanted);
  placed.not_filtered = std::move(not_filtered);
  sites_.install();
  return placed;
}

void KvmPlacement::take_out(Code code) {
  set_breakpoints({});
  if (code != Code::is_gone) sites_.remove();
  forget();
  // The slot and its mapping stay: a task may sleep inside of a stub.
  if (slot_) slot_->clear();
  mapping_.reset();
}

void KvmPlacement::set_aside(bool in_use) {
  sites_.remove();
  if (mapping_ && !in_use) mapping_->set_aside();
  aside_ = true;
}

bool KvmPlacement::put_back() {
  if (mapping_ && !slot_start_) return false;
  aside_ = false;
  // A jump to a stub that is not there would end the guest.
  return (!mapping_ || mapping_->put_back()) && sites_.put_back();
}

std::pair<Gva, Gva> KvmPlacement::stubs() const {
  if (!mapping_) return {};
  return {mapping_->base(), mapping_->base() + FilterSlot::kProcesses};
}

bool KvmPlacement::make_way(uint64_t start, uint64_t size) {
  const Result<Gpa> place = machine_.move_slot(start, size);
  if (!place) {
    slot_start_.reset();
    set_aside(false);
    return false;
  }
  slot_start_ = *place;
  if (mapping_) mapping_->lead_to(*place, aside_);
  return true;
}

void KvmPlacement::forget() {
  aside_ = false;
  traps_.clear();
  sites_.clear();
}

// The NOP of a hooked function: its address, and its place in RAM.
std::optional<std::pair<Gva, Gpa>> KvmPlacement::find_nop(const Hook& hook, const KernelImage& image) const {
  const uint64_t offset = hook.address - image.base.value;
  if (offset >= image.size) return std::nullopt;
  const Gpa at = image.start + offset;
  std::byte entry[arch::kEntrySize];
  if (!PhysicalWriter(machine_.memory()).may_write(at, sizeof entry) ||
      !machine_.memory().read(at, entry, sizeof entry))
    return std::nullopt;
  const auto nop = arch::nop_offset(entry);
  if (!nop) return std::nullopt;
  return std::pair(Gva(hook.address + *nop), at + *nop);
}

Result<Placed> KvmPlacement::place_stubs(const Wanted& wanted) {
  if (!wanted.filter_layout) return Error{Errc::unsupported, "this kernel lacks what the filter needs"};
  if (!slot_) {
    Result<std::unique_ptr<FilterSlot>> slot = FilterSlot::create();
    if (!slot) return slot.error();
    slot_ = std::move(*slot);
  }
  if (!slot_start_) {
    const Result<Gpa> start = machine_.add_slot(slot_->memory(), true);
    if (!start) return start.error();
    slot_start_ = *start;
  }
  slot_->clear();
  const KernelImage& image = wanted.image;
  Result<KernelMapping> mapping =
      KernelMapping::make(machine_.memory(), image.tables, image.base, *slot_start_, FilterSlot::kSize);
  if (!mapping) return mapping.error();
  mapping_ = std::move(*mapping);
  slot_->set_base(mapping_->base());
  Placed placed;
  for (const Hook& hook : wanted.hooks) {
    const auto nop = find_nop(hook, image);
    if (!nop) {
      if (hook.filter_only) return Error{Errc::unsupported, "a function that the filter needs cannot be hooked"};
      placed.missing.push_back(&hook);
      continue;
    }
    const auto program = wanted.filter_program(hook);
    const Gva back = nop->first + arch::kNopSize;
    const auto stub = program ? slot_->place(*program, *wanted.filter_layout, kTrapPort, back) : std::nullopt;
    if (!stub) return Error{Errc::unsupported, "this kernel lacks what the filter needs"};
    if (!sites_.add(nop->first, nop->second, arch::jump_to(nop->first, stub->entry)))
      return Error{Errc::unsupported, "a hooked function cannot be read"};
    traps_[stub->trap.value] = {&hook, back.value};
  }
  placed.filter = slot_.get();
  return placed;
}

Placed KvmPlacement::place_traps(const Wanted& wanted) {
  Placed placed;
  for (const Hook& hook : wanted.hooks) {
    if (hook.filter_only) continue;
    if (const auto nop = find_nop(hook, wanted.image);
        nop && sites_.add(nop->first, nop->second, arch::trap(kTrapPort))) {
      traps_[nop->first.value] = {&hook, nop->first.value + arch::kNopSize};
    } else {
      placed.missing.push_back(&hook);
    }
  }
  return placed;
}

Placed KvmPlacement::place_breakpoints(const Wanted& wanted) {
  Placed placed;
  placed.essential_only = true;
  std::vector<uint64_t> addresses;
  for (const Hook& hook : wanted.hooks) {
    if (hook.filter_only) continue;
    if (!hook.essential) {
      placed.missing.push_back(&hook);
      continue;
    }
    addresses.push_back(hook.address);
    traps_[hook.address] = {&hook, 0};
  }
  set_breakpoints(std::move(addresses));
  return placed;
}

void KvmPlacement::set_breakpoints(std::vector<uint64_t> addresses) {
  const std::lock_guard lock(mutex_);
  breakpoints_ = std::move(addresses);
  for (KvmVcpu* vcpu : machine_.vcpus())
    vcpu->set_breakpoints(breakpoints_.data(), static_cast<unsigned>(breakpoints_.size()));
}

void KvmPlacement::added(KvmVcpu& vcpu) {
  const std::lock_guard lock(mutex_);
  if (!breakpoints_.empty()) vcpu.set_breakpoints(breakpoints_.data(), static_cast<unsigned>(breakpoints_.size()));
}

}  // namespace oboro::engine::kvm
