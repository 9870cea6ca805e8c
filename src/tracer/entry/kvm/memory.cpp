// What becomes of the hooks when the VMM changes the guest's memory (docs/decisions/031-saved-memory.md).
//
// A VMM that saves a guest's memory, or sends it elsewhere, has KVM log first which pages the guest writes. So that is
// the moment to take out what is ours: it would mean nothing in another machine, and end the guest there.

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <time.h>
#include <vector>

#include "tracer/entry/kvm/kvm_session.h"

namespace oboro::tracer {
namespace {

using engine::kvm::Machine;

constexpr timespec kBetween{0, 10'000'000};
constexpr size_t kMostTasks = 65536;

}  // namespace

int KvmSession::set_memory_region(unsigned long request, void* argument) {
  kvm_userspace_memory_region region{};
  std::memcpy(&region, argument, sizeof region);
  const bool normal = region.slot >> 16 == 0 && region.memory_size != 0;
  const uint64_t start = region.guest_phys_addr, size = region.memory_size;
  const bool logs = region.flags & KVM_MEM_LOG_DIRTY_PAGES;
  // A display's memory is logged, too, and in ordinary running.
  const bool matters = normal && (logs || leaving_) && holds_hooks(start, size);
  if (matters && logs) memory_leaves();
  if (normal && machine.in_the_way(start, size)) make_way(start, size);
  int result = machine.set_memory_region(request, argument);
  // A slot of ours may have come just now.
  if (result != 0 && errno == EEXIST && machine.in_the_way(start, size)) {
    make_way(start, size);
    result = machine.set_memory_region(request, argument);
  }
  const int error = errno;
  if (matters && !logs && result == 0) memory_stays();
  errno = error;
  return result;
}

void KvmSession::memory_protected(uint64_t host, uint64_t size, bool begins) {
  bool matters = false;
  for (const auto& [start, part] : machine.map().pieces_in(host, size)) matters = matters || holds_hooks(start, part);
  if (matters && begins) memory_leaves();
  if (matters && !begins) memory_stays();
}

bool KvmSession::holds_hooks(uint64_t start, uint64_t size) {
  bool holds = false;
  boot_->while_unchanged([&] { holds = placement_.touches(start, size); });
  return holds;
}

// The guest may put the memory of a device anywhere, time and again.
void KvmSession::make_way(uint64_t start, uint64_t size) {
  boot_->while_stopped([&] {
    const Machine::Reading reading(machine);
    if (!machine.in_the_way(start, size) || placement_.make_way(start, size)) return;
    if (boot_->phase() != Boot::Phase::armed) return;
    mark_for_ftrace(false);
    tracer_->unseen("the guest put devices' memory wherever the tracer's could be: the hooks are out");
    if (holds_back()) machine.hold(Machine::Reason::unwatched);
  });
}

// Whether the guest has to stand still while no hooks are in: nothing could be refused to it.
bool KvmSession::holds_back() const {
  const policy::Reaction reaction = tracer_->settings().policy.reaction(policy::Trouble::incomplete);
  return reaction == policy::Reaction::deny || reaction == policy::Reaction::pause;
}

void KvmSession::memory_leaves() {
  if (!placement_.changes_memory() || leaving_.exchange(true)) return;
  std::string stays;
  for (unsigned i = 0; i < patience; ++i) {
    if (i) nanosleep(&kBetween, nullptr);
    boot_->while_stopped([&] { stays = set_aside(); });
    if (stays.empty()) return;
  }
  tracer_->unseen(
      "the guest's memory was saved or sent elsewhere with the tracer's changes in it: it is of no use there");
}

// One try. Returns who keeps the hooks in place. The guest goes on between two tries; if it does not, nothing changes.
std::string KvmSession::set_aside() {
  const Machine::Reading reading(machine);
  if (boot_->phase() != Boot::Phase::armed || placement_.is_aside()) return {};
  if (std::string stays = tracer_->retire(false); !stays.empty()) return stays;
  mark_for_ftrace(false);
  const bool in_use = stubs_in_use();
  placement_.set_aside(in_use);
  if (in_use) tracer_->warn("a task may be in a stub of the tracer's: it will not survive in the saved memory");
  machine.set_unwatched(true);
  const bool hold = holds_back();
  if (hold) machine.hold(Machine::Reason::unwatched);
  const char* text =
      hold ? "the guest's memory is saved or sent elsewhere: the hooks are out, and the guest stands still"
           : "the guest's memory is saved or sent elsewhere: the hooks are out meanwhile";
  tracer_->warn(text);
  fprintf(stderr, "oboro: %s\n", text);
  return {};
}

// Whether a vCPU is in a stub, or a task was interrupted there and sleeps: then its stack has that address. (So may
// have old bytes that are no address any more.)
bool KvmSession::stubs_in_use() {
  const auto [begin, end] = placement_.stubs();
  if (!begin) return false;
  const auto is_in = [begin = begin.value, size = end.value - begin.value](uint64_t at) { return at - begin < size; };
  for (const engine::kvm::KvmVcpu* vcpu : machine.vcpus())
    if (is_in(vcpu->rip())) return true;
  guest::Reader r(tracer_->kernel());
  std::vector<uint64_t> stack(arch::kKernelStackSize / sizeof(uint64_t));
  bool found = false;
  const bool complete = guest::for_each_thread(r, kMostTasks, [&](guest::Task task) {
    const Gva at = r.pointer(task.at, guest::Field::task_stack);
    if (at && r.bytes(at, stack.data(), arch::kKernelStackSize)) found = std::any_of(stack.begin(), stack.end(), is_in);
    return !found;
  });
  return found || !complete || r.failed();
}

void KvmSession::memory_stays() {
  boot_->while_stopped([this] {
    const Machine::Reading reading(machine);
    leaving_ = false;
    if (boot_->phase() != Boot::Phase::armed || !placement_.is_aside()) return;
    if (machine.ran_unwatched()) ran_unwatched();
    if (!placement_.put_back())
      tracer_->unseen("not all hooks could be put back after the guest's memory was saved or sent elsewhere");
    if (placement_.is_aside()) return;
    mark_for_ftrace(true);
    watched_again();
    tracer_->warn("the guest's memory was saved or sent elsewhere: the hooks are in again");
  });
}

void KvmSession::watched_again() {
  machine.set_unwatched(false);
  machine.resume(Machine::Reason::unwatched);
}

void KvmSession::ran_unwatched() {
  tracer_->unseen("the guest ran while its memory was saved or sent elsewhere, and no hooks were in it");
}

}  // namespace oboro::tracer
