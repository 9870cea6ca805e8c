// One intercepted kernel operation: the hooked function's arguments, the running task, and the flows of labels that the
// function is about to make. The handlers (file_hooks.cpp, process_hooks.cpp, ...) are written in these terms. Each
// flow is decided about (policy/policy.h) before anything is done about it. Then its labels go (propagation.h), the
// change is reported, and the vCPU gets its answer.
//
// Threads: an Operation lives on one vCPU thread, inside one hook. It takes no lock, allocates nothing and makes no
// system call until something is about to change.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "hooks/describe.h"
#include "hooks/environment.h"
#include "hooks/node.h"

namespace oboro::hooks {

class Operation {
 public:
  Operation(Environment& environment, engine::Vcpu& cpu) : env(environment), vcpu(cpu), r(environment.kernel) {}

  Environment& env;
  engine::Vcpu& vcpu;
  guest::Reader r;
  engine::Response response;  // what becomes of the hooked call

  // The hooked function returns -error instead of running.
  void deny(int32_t error) { response = engine::Return{-error, {}}; }
  bool denied() const { return std::holds_alternative<engine::Return>(response); }

  // --- the task and the call
  // The running task and its process. They are looked for when first asked for: many hooks end before.
  guest::Task task() {
    if (!task_.at) find_task();
    return task_;
  }
  uint32_t tgid() {
    if (!task_.at) find_task();
    return tgid_;
  }
  Gva pointer(unsigned argument) { return Gva(arch::argument(vcpu, argument)); }
  uint64_t value(unsigned argument) { return arch::argument(vcpu, argument); }
  labels::Carrier process() { return {labels::CarrierKind::process, tgid()}; }
  // The labels of the running process. While no process is managed, not even the running one is looked for.
  uint64_t labels() { return env.carriers.count(labels::CarrierKind::process) ? env.carriers.labels(process()) : 0; }
  // The system call of the running task. A hidden thread's registers are disguised; its watcher knows the real number.
  uint64_t system_call() {
    if (!known_call && env.watcher) known_call = env.watcher->system_call_of(task());
    return known_call ? *known_call : env.tasks.system_call(r, task());
  }
  std::optional<uint64_t> known_call;

  // --- flows
  Node running() { return process_node(r, task()); }
  // The running process takes data from `node`, or gives data to it. Cheap when nothing changes.
  void take(const Node& node);
  void give(const Node& node);
  void give(std::span<const Node> nodes);
  // Data goes from one node to another. Slow path.
  void flow(const Node& from, const Node& to);
  // Whether the running process's sends can matter: it is managed, or everybody's sends are refused.
  bool sends_matter() { return labels() || env.carriers.sends_refused(); }
  // The running process sends out of the machine.
  void leave(guest::Sock sock, const guest::IpEndpoint& to);
  // The same through a socket that is outside of the guest. key: tells this socket from others.
  void leave(const event::Object& socket, uint64_t key);
  // The running process sends to a place where its labels cannot follow. If that is not denied, the result is
  // incomplete, because of `what`.
  void send_untraced(guest::Sock sock, const guest::IpEndpoint& to, const char* what);
  // The policy's decision about a flow by the running process. If the policy denies, the vCPU is answered so, too.
  policy::Decision decide(labels::Carrier from, labels::Carrier to, uint64_t labels, policy::Channel channel);
  // Data may come out of `carrier` after this hook, as the call may wait. Remembers the running task as a receiver.
  void remember_receiver(labels::Carrier carrier);
  // Whether the task is in a call that may receive.
  bool is_receiving(guest::Task of);

  // --- beginnings and ends
  // The file gets labels from a path pattern.
  void classify(const Node& file, uint64_t labels, std::string_view pattern);
  // A carrier that is no file ends: whatever comes to its address next is clean, and nobody waits there.
  void end(const Node& node);
  // The file behind an inode. None if it could not be read whole: half an identity is another file's.
  labels::Carrier identity_of(guest::Inode inode);

  // --- events. Slow path; takes the lock.
  // Reports an event about an object that is or was managed.
  void report(event::Kind kind, const Node& node, uint64_t labels, std::string old_path = {});
  // The running process executes another program. filename: as the process asked for it; exe: the true path of the
  // program that runs. The event shows the process as it is from then on, but with the user that it still has.
  void report_exec(const std::string& filename, std::string exe, std::vector<std::string> argv, uint64_t labels);

 private:
  void find_task();
  template <typename Describe>
  void send(policy::Channel channel, uint64_t digest, const char* untraced, Describe describe_socket);

  guest::Task task_;
  uint32_t tgid_ = 0;
};

}  // namespace oboro::hooks
