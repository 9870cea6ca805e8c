// Hooks in the code of a guest that runs on KVM. They are placed in one of three ways (docs/kvm.md):
//
//   filter   The NOP at a hooked function's entry is a jump to a stub in a memory slot of ours, which stops the
//            vCPU only if the call is of interest.
//   text     The NOP is an OUT: each call stops the vCPU.
//   debug    Nothing in the guest's memory is changed: hardware breakpoints stand at the essential functions.
//
// Threads: place(), take_out() while all vCPUs are stopped (Machine::Stopped); trap(), in_stub(), owns() within a
// Machine::Handling; nops() and overwritten() on a thread that keeps changes out meanwhile; added() on any.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/kvm/filter_slot.h"
#include "engine/kvm/hook_sites.h"
#include "engine/kvm/kernel_mapping.h"
#include "engine/kvm/machine.h"
#include "engine/placement.h"

namespace oboro::engine::kvm {

// No device of a PC is at this port, and KVM emulates none there. The guest may write to the port, too: only RIP tells
// that a write is ours.
inline constexpr uint8_t kTrapPort = 0xe5;

class KvmPlacement final : public Placement {
 public:
  enum class Way { filter, text, debug };
  // machine must outlive this.
  KvmPlacement(Machine& machine, Way way) : machine_(machine), way_(way) {}

  Placed place(const Wanted& wanted) override;
  void take_out(Code code) override;

  struct Trap {
    const Hook* hook;
    uint64_t original;  // the guest goes on here if the hooked function is to run; 0: where it stands, at a breakpoint
  };
  // The hook at which the vCPU stands; null if it stands at none.
  const Trap* trap(const KvmVcpu& vcpu) const {
    const auto found = traps_.find(vcpu.rip());
    return found == traps_.end() ? nullptr : &found->second;
  }
  // Whether the vCPU is in a stub, perhaps in one whose hook is out by now.
  bool in_stub(const KvmVcpu& vcpu) const { return slot_ && vcpu.rip() - slot_->base().value < FilterSlot::kProcesses; }
  // Whether this is guest physical memory of ours. The guest may read it. A write to it KVM reports as a device's
  // access.
  bool owns(Gpa at) const { return slot_start_ && at.value - slot_start_->value < FilterSlot::kSize; }

  // Whether anything of this guest physical memory is changed for the hooks.
  bool touches(uint64_t start, uint64_t size) const {
    return sites_.touches(start, size) || (mapping_ && mapping_->touches(start, size));
  }

  // --- while the hooks are to be out for some time: all of this while all vCPUs are stopped
  // Takes out all that is changed. The hooks are known still. in_use: a task may be in a stub, which has to stay.
  void set_aside(bool in_use);
  // Puts it in again. False: not all hooks work. If the guest has something else in some of their places, the others
  // are in; if the slot is gone, all are out.
  [[nodiscard]] bool put_back();
  bool is_aside() const { return aside_; }
  bool changes_memory() const { return way_ != Way::debug; }
  // The stubs' addresses in the guest's kernel; empty if there are none.
  std::pair<Gva, Gva> stubs() const;
  // The VMM needs this place: the slot goes to another. False: there is none, so the slot is gone, and the hooks are
  // out until they are placed anew.
  [[nodiscard]] bool make_way(uint64_t start, uint64_t size);

  // To be told of each vCPU that is new.
  void added(KvmVcpu& vcpu);
  // The NOPs that have been changed for the hooks that are in place.
  std::vector<Gva> nops() const { return sites_.nops(); }
  // Whether the guest has changed some of these NOPs, or the page tables that lead to the stubs.
  bool overwritten() const { return !aside_ && sites_.overwritten(); }
  bool unmapped() const { return !aside_ && mapping_ && !mapping_->intact(); }

 private:
  Result<Placed> place_stubs(const Wanted& wanted);
  Placed place_traps(const Wanted& wanted);
  Placed place_breakpoints(const Wanted& wanted);
  void forget();
  std::optional<std::pair<Gva, Gpa>> find_nop(const Hook& hook, const KernelImage& image) const;
  void set_breakpoints(std::vector<uint64_t> addresses);

  Machine& machine_;
  const Way way_;
  std::mutex mutex_;  // breakpoints_
  std::vector<uint64_t> breakpoints_;
  std::unordered_map<uint64_t, Trap> traps_;  // by RIP
  HookSites sites_{machine_.memory()};
  std::unique_ptr<FilterSlot> slot_;  // once made, it stays: KVM has it as guest memory
  std::optional<Gpa> slot_start_;     // none: KVM has it not, or no more
  std::optional<KernelMapping> mapping_;
  bool aside_ = false;
};

}  // namespace oboro::engine::kvm
