// One virtual machine of this process, as seen between its VMM and KVM.
//
// Threads: the VMM calls from any of its threads; enter() from the vCPU's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/kvm/memory_map.h"
#include "engine/kvm/vcpu.h"

namespace oboro::engine::kvm {

class Machine {
 public:
  Machine(int vm_fd, Ioctl ioctl) : fd_(vm_fd), ioctl_(ioctl) {}
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  int fd() const { return fd_; }
  const PhysicalMemory& memory() const { return map_.memory(); }
  const MemoryMap& map() const { return map_; }

  // The VMM's KVM_SET_USER_MEMORY_REGION or ..REGION2: passes it on, and learns from it. Waits for handlers that may
  // read the memory that is about to go.
  int set_memory_region(unsigned long request, void* argument);
  // Adds a vCPU whose descriptor the VMM has just got. Errors: io, unsupported (no KVM_CAP_SYNC_REGS).
  Result<KvmVcpu*> add_vcpu(int vcpu_fd, size_t run_size);
  // The vCPUs that exist. A vCPU stays once it was added.
  std::vector<KvmVcpu*> vcpus() const;

  // A memory slot of the tracer's own, out of the VMM's way. There is at most one. Errors: io (KVM refused), limit (no
  // free number or place).
  Result<Gpa> add_slot(std::span<std::byte> memory, bool read_only);
  // Whether a slot of the VMM's at [start, start + size) would need the place of ours: KVM refuses two at one place,
  // and VMMs do not survive that. A guest decides where its devices' memory is.
  bool in_the_way(uint64_t start, uint64_t size) const;
  // Moves our slot to a place outside of [start, start + size) and of all slots of the VMM's. Within a Stopped. Errors:
  // limit (there is no such place: the slot is gone).
  Result<Gpa> move_slot(uint64_t start, uint64_t size);

  // The VMM's KVM_RUN. Does not go into the guest while another vCPU holds it stopped. Returns the kernel's result,
  // with errno; a kick of ours is EINTR. Within a Handling the vCPU is handling again from the moment at which KVM_RUN
  // returns.
  int enter(KvmVcpu& vcpu);

  // From now on no vCPU runs guest code: each stands still in enter(), outside of handlers, until resume(). A vCPU
  // that the VMM wants back, to stop or end the machine, gets EINTR. May be called where a Stopped may be made. Each
  // reason is resumed for itself.
  enum class Reason : unsigned { asked = 1, unwatched = 2 };
  void pause(Reason why = Reason::asked);
  void resume(Reason why = Reason::asked);
  bool paused() const { return paused_.load(std::memory_order_seq_cst) != 0; }
  // pause(), within a Stopped.
  void hold(Reason why) { paused_.fetch_or(static_cast<unsigned>(why), std::memory_order_seq_cst); }

  // From now on the guest is not watched, or is again. Within a Stopped.
  void set_unwatched(bool unwatched) { unwatched_.store(unwatched, std::memory_order_seq_cst); }
  // Whether a vCPU has gone into a guest that was not watched since this was asked last.
  bool ran_unwatched() {
    return ran_unwatched_.load(std::memory_order_relaxed) && ran_unwatched_.exchange(false, std::memory_order_relaxed);
  }

  // While a Stopped exists, no other vCPU runs guest code or is in a handler. It cannot be nested; it waits for
  // another's end. Its maker must hold nothing that a handler waits for, unless that handler is within a NotHandling.
  // self must be handling, and is not while this waits: nothing that it read before may be relied upon after.
  class Stopped {
   public:
    Stopped(Machine& machine, KvmVcpu* self);
    ~Stopped();
    Stopped(const Stopped&) = delete;
    Stopped& operator=(const Stopped&) = delete;

   private:
    Machine& machine_;
    std::unique_lock<std::mutex> lock_;
  };

  // Stands around everything on a vCPU's thread that reads guest memory or uses what Stopped protects. It stands around
  // enter(), too, where the exit is to be handled.
  class Handling {
   public:
    explicit Handling(KvmVcpu& vcpu) : vcpu_(vcpu) {
      vcpu_.at_.store(KvmVcpu::At::handling, std::memory_order_seq_cst);
      vcpu_.sregs_known_ = false;
    }
    ~Handling() { vcpu_.at_.store(KvmVcpu::At::vmm, std::memory_order_release); }
    Handling(const Handling&) = delete;
    Handling& operator=(const Handling&) = delete;

   private:
    KvmVcpu& vcpu_;
  };
  // Within a Handling, around a wait for something that the maker of a Stopped may hold. Without it, the maker would
  // wait for this handler, and this handler for the maker. Nothing that was read before may be relied upon after.
  class NotHandling {
   public:
    explicit NotHandling(KvmVcpu& vcpu) : vcpu_(vcpu) { vcpu_.at_.store(KvmVcpu::At::vmm, std::memory_order_release); }
    ~NotHandling() { vcpu_.at_.store(KvmVcpu::At::handling, std::memory_order_seq_cst); }
    NotHandling(const NotHandling&) = delete;
    NotHandling& operator=(const NotHandling&) = delete;

   private:
    KvmVcpu& vcpu_;
  };
  // Stands around reads of guest memory on any other thread.
  class Reading {
   public:
    explicit Reading(Machine& machine) : machine_(machine) {
      machine_.readers_.fetch_add(1, std::memory_order_seq_cst);
    }
    ~Reading() { machine_.readers_.fetch_sub(1, std::memory_order_release); }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

   private:
    Machine& machine_;
  };

 private:
  using At = KvmVcpu::At;

  struct Own {
    uint32_t number;
    uint64_t start;
    std::span<std::byte> memory;
    bool read_only;
  };

  void kick(KvmVcpu& vcpu);
  void wait_for_handlers();
  bool give_place(Own& own, uint64_t start, uint64_t size);

  int fd_;
  Ioctl ioctl_;
  MemoryMap map_;
  mutable std::mutex mutex_;  // the list of vCPUs
  std::vector<std::unique_ptr<KvmVcpu>> vcpus_;
  mutable std::mutex slots_;  // own_; and a change of ours and one of the VMM's. No handler is waited for within it
  std::optional<Own> own_;
  std::mutex stopper_;
  std::atomic<bool> stopping_{false}, unwatched_{false}, ran_unwatched_{false};
  std::atomic<unsigned> paused_{0};  // the reasons
  std::atomic<unsigned> readers_{0};
};

// Chooses the signal that makes vCPU threads leave the guest: one that this process leaves to its default. To be called
// once, before vCPUs run.
void install_kick_signal();

}  // namespace oboro::engine::kvm
