// One intercepted kernel operation: the hooked function's arguments, the running task, and what it does to the
// diffusion state. The handlers (file_hooks.cpp, process_hooks.cpp, ...) are written in these terms.
//
// Threads: an Operation lives on one vCPU thread, inside one hook. Until something is about to change it takes no lock,
// allocates nothing and makes no system call.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/filter.h"
#include "event/event.h"
#include "guest/address_space.h"
#include "guest/file.h"
#include "guest/kernel.h"
#include "guest/socket.h"
#include "guest/task.h"
#include "labels/carriers.h"
#include "labels/pattern.h"

namespace oboro::hooks {

// Takes the events. Called with the state's lock held, so their order is the order of the changes.
class Reporter {
 public:
  virtual ~Reporter() = default;
  virtual void report(event::Event& event) = 0;
  // Something could not be traced. `what` is a string literal; each is reported once per boot. Under a policy that
  // denies, whatever makes the result incomplete (a lost record, too) also calls labels::Carriers::refuse_sends(),
  // before the guest goes on.
  virtual void incomplete(const char* what) = 0;
  virtual void kernel_replaced() = 0;  // kexec
};

class FilterMarks;
class Operation;

// Told of processes by hooks that others need too (src/hiding).
class ProcessWatcher {
 public:
  virtual ~ProcessWatcher() = default;
  virtual void forked(Operation& op, guest::Task child) = 0;  // before it runs
  // What a running task is really doing, where its registers say something else.
  virtual std::optional<uint64_t> system_call_of(guest::Task running) = 0;
};

struct Policy {
  bool deny_leaks = false;
};

// What the handlers work with: one boot of one guest kernel.
struct Environment {
  Environment(const guest::Kernel& kernel_, labels::Carriers& carriers_, const labels::PatternSet& patterns_,
              Policy policy_, Reporter& reporter_)
      : kernel(kernel_),
        tasks(kernel_),
        carriers(carriers_),
        patterns(patterns_),
        policy(policy_),
        reporter(reporter_) {}

  const guest::Kernel& kernel;
  guest::TaskFinder tasks;
  labels::Carriers& carriers;
  const labels::PatternSet& patterns;
  Policy policy;
  Reporter& reporter;
  // Where the engine filters: most calls do not come here, so who waits for what is asked of the guest.
  engine::Filter* filter = nullptr;
  // There is no hook where files are opened: they are classified when they are read or written.
  bool opens_unseen = false;
  ProcessWatcher* watcher = nullptr;
  FilterMarks* marks = nullptr;  // of `filter`

  void know_name(const engine::KnownName& name) {
    const auto lock = carriers.lock();  // the filter is told by one thread at a time
    filter->add_name(name);
  }
  void forget_name(uint64_t dentry) {
    const auto lock = carriers.lock();
    filter->remove_name(dentry);
  }

  // GS base of a vCPU in kernel mode: that of its per-CPU area, the same for the whole boot. So it is asked for once;
  // reading a register is the dearest part of a hook that changes nothing.
  uint64_t gs_base(engine::Vcpu& vcpu) {
    if (vcpu.index() >= gs_bases_.size()) return vcpu.reg(arch::Reg::gs_base);
    auto& known = gs_bases_[vcpu.index()];
    uint64_t value = known.load(std::memory_order_relaxed);
    if (!value) known.store(value = vcpu.reg(arch::Reg::gs_base), std::memory_order_relaxed);
    return value;
  }

 private:
  std::array<std::atomic<uint64_t>, 64> gs_bases_{};
};

// An object of the guest that can carry labels, and where to read its description from.
struct Node {
  labels::Carrier carrier;
  labels::Carrier alias;   // of an inode: its file identity
  guest::Task task;        // process
  guest::Inode inode;      // inode
  guest::Dentry dentry;    // inode: a name of it, where one is at hand
  guest::Sock sock;        // socket; flow: the end that is at hand
  bool receiving = false;  // flow: sock is the receiving end
  guest::IpEndpoint to{};  // socket that only a destination is known of
  Gva object{};            // pipe, terminal, queue
  // file: one that is outside of the guest (src/hiding), and how it is described. Must outlive this.
  const event::Object* outside = nullptr;
};

class Operation {
 public:
  Operation(Environment& environment, engine::Vcpu& vcpu);

  Environment& env;
  engine::Vcpu& vcpu;
  guest::Reader r;
  engine::Verdict verdict;

  // The running task and its process. Found when first asked for: many hooks end before.
  guest::Task task() {
    if (!task_.at) find_task();
    return task_;
  }
  uint32_t tgid() {
    if (!task_.at) find_task();
    return tgid_;
  }

  Gva pointer(unsigned argument) { return Gva(vcpu.reg(arch::kArguments[argument])); }
  uint64_t value(unsigned argument) { return vcpu.reg(arch::kArguments[argument]); }
  labels::Carrier process() { return {labels::CarrierKind::process, tgid()}; }
  // Of the running process. While nothing is managed, which process runs is not even asked.
  uint64_t labels() { return env.carriers.count(labels::CarrierKind::process) ? env.carriers.labels(process()) : 0; }
  // Of the running task. Who knows better than its registers says so.
  uint64_t system_call() {
    if (!known_call && env.watcher) known_call = env.watcher->system_call_of(task());
    return known_call ? *known_call : env.tasks.system_call(r, task());
  }
  std::optional<uint64_t> known_call;

  Node process_node(guest::Task of);
  Node current_node() { return process_node(task()); }
  Node inode_node(guest::Inode inode, guest::Dentry dentry);

  // The running process takes data from / gives data to `node`. Cheap when nothing changes.
  void take(const Node& node);
  void give(const Node& node);
  // Data may come out of `carrier` after this hook (the call may wait): remember who asked.
  void note_receiver(labels::Carrier carrier);

  // A carrier that is no file ends: what comes to its address next is clean, and nobody waits there.
  void end(const Node& node);

  // Labels go from one node to another, and on from there (shared memory, receivers that wait). Slow path.
  void spread(const Node& from, const Node& to);
  // Labels from a path pattern.
  void classify(const Node& file, uint64_t labels, std::string_view pattern);
  // An event about an object that is or was managed. Slow path; takes the lock.
  void report(event::Kind kind, const Node& node, uint64_t labels, std::string detail = {}, std::string path = {});
  // The running process executes another program; filename as it was asked for, exe the true path of what runs.
  void report_exec(const std::string& filename, std::string exe, uint64_t labels);
  // Whether it can matter what the running process sends: it is managed, or sends are refused, everybody's.
  bool sends_matter() { return labels() || env.carriers.sends_refused(); }
  // The running process sends to somewhere outside: a leak, or refused because sends are. Sets verdict.
  void leave(guest::Sock sock, const guest::IpEndpoint& to);
  // The same through a socket that is outside of the guest; key: what tells it from others.
  void leave(const event::Object& socket, uint64_t key);
  // The running process sends to where its labels cannot follow. Refused by a policy that denies; else the result is
  // incomplete, because of `what`.
  void send_untraced(guest::Sock sock, const guest::IpEndpoint& to, const char* what);

  labels::Carrier identity_of(guest::Inode inode);

 private:
  void find_task();
  void deny();
  template <typename Describe>
  void report_send(event::Kind kind, uint64_t digest, Describe describe);
  template <typename Describe>
  void leave(uint64_t digest, Describe describe_socket);
  void describe_socket(guest::Sock sock, const guest::IpEndpoint& to, event::Object& out);

  guest::Task task_;
  uint32_t tgid_ = 0;

  struct Step {
    Node from, to;
  };
  bool receiving(guest::Task of);
  void follow_notes(const Node& reached, std::vector<Step>& steps);
  void follow(const Node& reached, std::vector<Step>& steps);
  void apply(const Step& step, std::vector<Step>& steps);
};

}  // namespace oboro::hooks
