#include "engine/kvm/machine.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

namespace oboro::engine::kvm {
namespace {

int kick_signal = 0;
thread_local KvmVcpu* vcpu_of_thread = nullptr;
thread_local std::atomic<bool>* kicked_of_thread = nullptr;

// Runs on the vCPU's own thread, so that a KVM_RUN that is about to be entered returns at once.
void on_kick(int) {
  if (!vcpu_of_thread) return;
  kicked_of_thread->store(true, std::memory_order_relaxed);
  vcpu_of_thread->run().immediate_exit = 1;
}

// Waits until the VMM has kicked the vCPU. A kick is a signal whose handler sets immediate_exit. All signals are
// blocked but in ppoll(), so none can come between the look and the wait.
void stand_still(const volatile __u8& immediate_exit) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (!immediate_exit) ppoll(nullptr, 0, nullptr, &before);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void pause_briefly() {
  const timespec t{0, 50000};
  nanosleep(&t, nullptr);
}

}  // namespace

void install_kick_signal() {
  if (kick_signal) return;
  for (int number = SIGRTMAX - 1; number > SIGRTMIN; --number) {
    struct sigaction now {};
    if (sigaction(number, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) continue;
    struct sigaction ours {};
    ours.sa_handler = on_kick;
    sigaction(number, &ours, nullptr);
    kick_signal = number;
    return;
  }
}

Machine::~Machine() = default;

int Machine::set_memory_region(unsigned long request, void* argument) {
  // KVM_SET_USER_MEMORY_REGION2 begins with the same members.
  kvm_userspace_memory_region region{};
  std::memcpy(&region, argument, sizeof region);
  // The high half of the number is an address space. 1 is the one that system management mode sees.
  const bool normal = region.slot >> 16 == 0;
  MemoryMap::Old old;
  if (normal && region.memory_size == 0) {
    old = map_.remove(region.slot);
    if (old) wait_for_handlers();
  }
  std::unique_lock slots(slots_);
  const int result = ioctl_(fd_, request, argument);
  if (!normal || result != 0 || region.memory_size == 0) return result;
  const int error = errno;
  old = map_.set(region.slot, {region.guest_phys_addr, region.memory_size, region.userspace_addr,
                               (region.flags & KVM_MEM_READONLY) != 0, (region.flags & KVM_MEM_LOG_DIRTY_PAGES) != 0});
  slots.unlock();
  wait_for_handlers();
  errno = error;
  return result;
}

void Machine::wait_for_handlers() {
  for (KvmVcpu* vcpu : vcpus())
    while (vcpu->at_.load(std::memory_order_seq_cst) == At::handling && vcpu != vcpu_of_thread) pause_briefly();
  while (readers_.load(std::memory_order_seq_cst) != 0) pause_briefly();
}

Result<KvmVcpu*> Machine::add_vcpu(int vcpu_fd, size_t run_size) {
  void* run = mmap(nullptr, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
  if (run == MAP_FAILED) return Error{Errc::io, fmt::format("cannot map a vCPU: {}", strerror(errno))};
  const std::lock_guard lock(mutex_);
  const auto index = static_cast<unsigned>(vcpus_.size());
  vcpus_.push_back(std::make_unique<KvmVcpu>(index, vcpu_fd, static_cast<kvm_run*>(run), ioctl_));
  vcpus_.back()->run_->kvm_valid_regs |= KVM_SYNC_X86_REGS;
  return vcpus_.back().get();
}

std::vector<KvmVcpu*> Machine::vcpus() const {
  const std::lock_guard lock(mutex_);
  std::vector<KvmVcpu*> all;
  for (const auto& vcpu : vcpus_) all.push_back(vcpu.get());
  return all;
}

Result<Gpa> Machine::add_slot(std::span<std::byte> memory, bool read_only) {
  const int numbers = ioctl_(fd_, KVM_CHECK_EXTENSION, reinterpret_cast<void*>(KVM_CAP_NR_MEMSLOTS));
  const std::lock_guard lock(slots_);
  // VMMs number their slots from 0 up.
  for (int number = (numbers > 0 ? numbers : 32) - 1; number > 8; --number) {
    if (map_.has(static_cast<uint32_t>(number))) continue;
    Own own{static_cast<uint32_t>(number), 0, memory, read_only};
    if (!give_place(own, 0, 0)) return Error{Errc::io, fmt::format("KVM refuses a memory slot: {}", strerror(errno))};
    own_ = own;
    return Gpa(own.start);
  }
  return Error{Errc::limit, "no memory slot is free"};
}

// Guest physical addresses have at least 36 bits. The memory just below that end is RAM only in guests of 64 GiB: then
// another place is looked for. [start, start + size) is kept free, too. A slot that has its number already is moved:
// KVM does that in one step.
bool Machine::give_place(Own& own, uint64_t start, uint64_t size) {
  const uint64_t wanted = own.memory.size();
  errno = ENOSPC;  // if no place is free
  // Several places below each end: a guest may have put its devices' memory at one after the other.
  for (const uint64_t below : {16, 64, 256}) {
    for (uint64_t end = uint64_t{1} << 36; end <= uint64_t{1} << 46; end <<= 1) {
      const uint64_t at = end - below * wanted;
      if (map_.overlaps(at, wanted) || (at < start + size && start < at + wanted)) continue;
      kvm_userspace_memory_region region{};
      region.slot = own.number;
      region.flags = own.read_only ? KVM_MEM_READONLY : 0;
      region.guest_phys_addr = at;
      region.memory_size = wanted;
      region.userspace_addr = reinterpret_cast<uint64_t>(own.memory.data());
      if (ioctl_(fd_, KVM_SET_USER_MEMORY_REGION, &region) != 0) continue;  // the host has fewer address bits, say
      own.start = at;
      return true;
    }
  }
  return false;
}

bool Machine::in_the_way(uint64_t start, uint64_t size) const {
  const std::lock_guard lock(slots_);
  return own_ && start < own_->start + own_->memory.size() && own_->start < start + size;
}

Result<Gpa> Machine::move_slot(uint64_t start, uint64_t size) {
  const std::lock_guard lock(slots_);
  if (!own_) return Error{Errc::limit, "there is no slot"};
  if (give_place(*own_, start, size)) return Gpa(own_->start);
  kvm_userspace_memory_region none{};
  none.slot = own_->number;
  none.flags = own_->read_only ? KVM_MEM_READONLY : 0;
  none.guest_phys_addr = own_->start;
  ioctl_(fd_, KVM_SET_USER_MEMORY_REGION, &none);
  own_.reset();
  return Error{Errc::limit, "the tracer's memory has no other place"};
}

int Machine::enter(KvmVcpu& vcpu) {
  if (!vcpu.has_thread_.load(std::memory_order_relaxed) || vcpu_of_thread != &vcpu) {
    vcpu_of_thread = &vcpu;
    kicked_of_thread = &vcpu.kicked_;
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, kick_signal);
    if (kick_signal) pthread_sigmask(SIG_UNBLOCK, &kick, nullptr);
    vcpu.thread_ = pthread_self();
    vcpu.has_thread_ = true;
  }
  const At before = vcpu.at_.load(std::memory_order_relaxed);
  for (;;) {
    vcpu.at_.store(At::guest, std::memory_order_seq_cst);
    if (!stopping_.load(std::memory_order_seq_cst)) break;
    vcpu.at_.store(At::vmm, std::memory_order_seq_cst);
    stopping_.wait(true);
  }
  int result = -1;
  if (paused()) {
    vcpu.at_.store(At::vmm, std::memory_order_seq_cst);
    stand_still(vcpu.run_->immediate_exit);
    errno = EINTR;
  } else {
    if (unwatched_.load(std::memory_order_seq_cst)) ran_unwatched_.store(true, std::memory_order_relaxed);
    vcpu.apply_debug();
    result = ioctl_(vcpu.fd_, KVM_RUN, nullptr);
  }
  vcpu.sregs_known_ = false;
  vcpu.at_.store(before, std::memory_order_seq_cst);
  if (result < 0 && vcpu.kicked_.load(std::memory_order_relaxed)) {
    const int error = errno;
    vcpu.kicked_ = false;
    vcpu.run_->immediate_exit = 0;  // the VMM sees its own kick now, if there was one: it gets EINTR
    errno = error;
  }
  return result;
}

// A vCPU that is past its look at paused_ is out of the guest once nobody is in it any more.
void Machine::pause(Reason why) {
  const Stopped stopped(*this, nullptr);
  hold(why);
}

void Machine::resume(Reason why) {
  const unsigned bit = static_cast<unsigned>(why);
  if (paused_.fetch_and(~bit, std::memory_order_seq_cst) != bit) return;  // it was not paused, or still is
  for (KvmVcpu* vcpu : vcpus()) kick(*vcpu);
}

void Machine::kick(KvmVcpu& vcpu) {
  if (kick_signal && vcpu.has_thread_) pthread_kill(vcpu.thread_, kick_signal);
}

Machine::Stopped::Stopped(Machine& machine, KvmVcpu* self)
    : machine_(machine), lock_(machine.stopper_, std::defer_lock) {
  if (self) {
    const NotHandling waiting(*self);  // a thread that is stopping all now waits for this one
    lock_.lock();
  } else {
    lock_.lock();
  }
  machine_.stopping_.store(true, std::memory_order_seq_cst);
  for (KvmVcpu* vcpu : machine_.vcpus()) {
    if (vcpu == self) continue;
    // Signals of this kind are queued one by one: a vCPU that gets no processor must not find hundreds. One is enough,
    // except for a VMM that swallows it.
    constexpr unsigned kKickAgain = 200;  // looks
    unsigned looks = 0;
    for (;;) {
      const At at = vcpu->at_.load(std::memory_order_seq_cst);
      if (at == At::vmm) break;
      if (at == At::guest && looks++ % kKickAgain == 0) machine_.kick(*vcpu);  // a handler comes to its end by itself
      pause_briefly();
    }
  }
}

Machine::Stopped::~Stopped() {
  machine_.stopping_.store(false, std::memory_order_seq_cst);
  machine_.stopping_.notify_all();
}

}  // namespace oboro::engine::kvm
