// The handlers' environment: one boot of one guest kernel, and the receivers of reports.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "engine/engine.h"
#include "engine/filter.h"
#include "event/event.h"
#include "guest/kernel.h"
#include "guest/task.h"
#include "guest/users.h"
#include "labels/carriers.h"
#include "labels/pattern.h"
#include "policy/policy.h"

namespace oboro::hooks {

// Takes the events. Called with the lock of labels::Carriers held, so their order is the order of the changes.
class Reporter {
 public:
  virtual ~Reporter() = default;
  virtual void report(event::Event& event) = 0;
  // Something could not be traced. `what` is a string literal; each is reported once per boot. Where the policy wants
  // it (policy::Policy::reaction), this and a lost record also call labels::Carriers::refuse_sends(), before the guest
  // goes on.
  virtual void incomplete(const char* what) = 0;
  virtual void kernel_replaced() = 0;  // kexec
};

class FilterMarks;
class Operation;

// Told of processes by hooks that src/hiding needs, too.
class ProcessWatcher {
 public:
  virtual ~ProcessWatcher() = default;
  virtual void forked(Operation& op, guest::Task child) = 0;  // before it runs
  // The system call that a running task is really in, where its registers show another one.
  virtual std::optional<uint64_t> system_call_of(guest::Task running) = 0;
};

struct Environment {
  Environment(const guest::Kernel& kernel_, labels::Carriers& carriers_, const labels::PatternSet& patterns_,
              const policy::Policy& policy_, Reporter& reporter_)
      : kernel(kernel_),
        tasks(kernel_),
        users(kernel_),
        carriers(carriers_),
        patterns(patterns_),
        policy(policy_),
        reporter(reporter_) {}

  const guest::Kernel& kernel;
  guest::TaskFinder tasks;
  guest::Users users;  // for events
  labels::Carriers& carriers;
  const labels::PatternSet& patterns;
  policy::Policy policy;
  Reporter& reporter;
  // Set where the engine filters. Most calls do not come to their handlers then, so waiting tasks are looked for in the
  // guest.
  engine::Filter* filter = nullptr;
  // Set where there is no hook at the opening of files: files are classified when they are read or written.
  bool opens_unseen = false;
  ProcessWatcher* watcher = nullptr;
  FilterMarks* marks = nullptr;  // `filter`, as it is told of changes

  // With the lock held, as Reporter::report(). The directories of all names that are reported matter from here on.
  void report(event::Event& event) {
    for (const event::Object* object : {&event.from, &event.object})
      if (object->type == event::ObjectType::file) carriers.places().add_name(object->fs, object->path);
    reporter.report(event);
  }

  policy::Situation situation() const { return {.vouched_for = carriers.sends_refused() == nullptr}; }

  void know_name(const engine::KnownName& name) {
    const auto lock = carriers.lock();  // the filter is told by one thread at a time
    filter->add_name(name);
  }
  void forget_name(uint64_t dentry) {
    const auto lock = carriers.lock();
    filter->remove_name(dentry);
  }

  // The base of the per-CPU area, of a vCPU in kernel mode. It stays the same for the whole boot, so it is asked for
  // once: to read a register is the dearest part of a hook that changes nothing.
  uint64_t per_cpu_base(engine::Vcpu& vcpu) {
    if (vcpu.index() >= per_cpu_bases_.size()) return arch::per_cpu_base(vcpu);
    auto& known = per_cpu_bases_[vcpu.index()];
    uint64_t value = known.load(std::memory_order_relaxed);
    if (!value) known.store(value = arch::per_cpu_base(vcpu), std::memory_order_relaxed);
    return value;
  }

 private:
  std::array<std::atomic<uint64_t>, 64> per_cpu_bases_{};
};

}  // namespace oboro::hooks
