#include "hooks/operation.h"

#include <time.h>

#include "arch/x86_64/syscalls.h"
#include "hooks/describe.h"
#include "hooks/table.h"

namespace oboro::hooks {

using event::Kind;
using event::ObjectType;
using labels::Carrier;
using labels::CarrierKind;

namespace {

constexpr size_t kMaxSteps = 65536;      // objects reached by one operation
constexpr size_t kMaxProcesses = 65536;  // processes looked at to find who shares an address space

}  // namespace

Operation::Operation(Environment& environment, engine::Vcpu& cpu)
    : env(environment), vcpu(cpu), r(environment.kernel) {}

void Operation::find_task() {
  const uint64_t gs_base = env.gs_base(vcpu);
  task_ = env.tasks.current(r, gs_base);
  if (!env.tasks.stack_known()) env.tasks.learn_stack(r, gs_base, task_);
  tgid_ = task_.tgid(r);
}

Node Operation::process_node(guest::Task of) {
  Node node;
  node.carrier = Carrier(CarrierKind::process, of.tgid(r));
  node.task = of;
  return node;
}

Node Operation::inode_node(guest::Inode inode, guest::Dentry dentry) {
  Node node;
  node.carrier = Carrier(CarrierKind::inode, inode.at.value);
  node.inode = inode;
  node.dentry = dentry;
  return node;
}

void Operation::take(const Node& node) {
  const uint64_t labels = env.carriers.labels(node.carrier);
  if (labels == 0 || (labels & ~this->labels()) == 0) return;
  if (task().is_kernel_thread(r)) {
    env.reporter.incomplete("a kernel thread received classified data");
    return;
  }
  spread(node, current_node());
}

void Operation::give(const Node& node) {
  const uint64_t labels = this->labels();
  if (labels == 0 || (labels & ~env.carriers.labels(node.carrier)) == 0) return;
  spread(current_node(), node);
}

bool Operation::receiving(guest::Task of) {
  guest::Reader reader(env.kernel);  // the task may be gone: then reading fails, which is no failure of this hook
  const uint64_t number = env.tasks.system_call(reader, of);
  return !reader.failed() && arch::may_receive(number);
}

void Operation::note_receiver(Carrier carrier) {
  if (env.filter) return;  // the task has left a note itself
  const bool kept = env.carriers.receivers().note(
      carrier, task().at.value, [this](uint64_t other) { return receiving(guest::Task{Gva(other)}); });
  if (!kept) env.reporter.incomplete("too many tasks receive from one socket or pipe at the same time");
}

void Operation::end(const Node& node) {
  env.carriers.receivers().forget(node.carrier);
  const uint64_t labels = env.carriers.labels(node.carrier);
  if (!labels) return;
  report(Kind::closed, node, labels);
  const auto lock = env.carriers.lock();
  env.carriers.erase(node.carrier);
}

void Operation::spread(const Node& from, const Node& to) {
  const auto lock = env.carriers.lock();
  std::vector<Step> steps{{from, to}};
  for (size_t i = 0; i < steps.size(); ++i) {
    if (i == kMaxSteps) {
      env.reporter.incomplete("one operation reached more objects than can be followed");
      break;
    }
    apply(Step(steps[i]), steps);
  }
}

// The file behind an inode; none if it could not be read: half an identity is another file's.
Carrier Operation::identity_of(guest::Inode inode) {
  const bool failed_before = r.failed();
  r.clear_failure();
  const Carrier identity(CarrierKind::file, inode.identity(r).hash());
  const bool failed = r.failed();
  if (failed_before) r.fail();
  return failed ? Carrier() : identity;
}

void Operation::apply(const Step& step, std::vector<Step>& steps) {
  Node to = step.to;
  // What could not be read is null, and a label on that would be one on everything that cannot be read later. (Process
  // 0 is the idle task.)
  if (!to.carrier.has_value()) return;
  if (to.carrier.kind() == CarrierKind::inode && !to.alias) to.alias = identity_of(to.inode);
  const labels::Spread spread = env.carriers.spread(step.from.carrier, to.carrier, to.alias);
  if (spread.full) env.reporter.incomplete("the table of managed objects is full");
  if (!spread.added) return;

  event::Event event;
  event.kind = Kind::diffusion;
  event.labels = spread.added;
  // A process that waited and now receives is the one that does it, whoever's hook this is.
  const bool receives = to.carrier.kind() == CarrierKind::process && step.from.carrier.kind() != CarrierKind::process &&
                        step.from.carrier.kind() != CarrierKind::inode;
  describe_subject(*this, event, receives ? to.task : task());
  describe(r, step.from, event.from);
  describe(r, to, event.object);
  event.from.id = spread.from_id;
  event.object.id = spread.to_id;
  env.reporter.report(event);
  follow(to, steps);
}

// What else holds the data as soon as `reached` holds it.
void Operation::follow(const Node& reached, std::vector<Step>& steps) {
  switch (reached.carrier.kind()) {
    case CarrierKind::process: {
      const Gva mm = reached.task.mm(r);
      if (!mm) return;
      const auto users = r.get<uint32_t>(mm, guest::Field::mm_users);
      const auto threads =
          r.get<uint32_t>(r.pointer(reached.task.at, guest::Field::task_signal), guest::Field::signal_nr_threads);
      if (users > threads) {  // perhaps another process shares the memory (vfork, clone with CLONE_VM alone)
        const uint32_t own = reached.task.tgid(r);
        const bool complete = guest::for_each_process(r, kMaxProcesses, [&](guest::Task other) {
          if (other.mm(r) == mm && other.tgid(r) != own) steps.push_back({reached, process_node(other)});
          return true;
        });
        if (!complete) env.reporter.incomplete("the list of processes could not be read to its end");
      }
      std::vector<guest::Inode> inodes;
      if (!guest::shared_writable_inodes(r, mm, inodes))
        env.reporter.incomplete("the memory mappings of a process could not be read to their end");
      for (const guest::Inode inode : inodes) steps.push_back({reached, inode_node(inode, {})});
      return;
    }
    case CarrierKind::inode: {
      std::vector<guest::Task> owners;
      if (!guest::mappers(r, reached.inode, owners))
        env.reporter.incomplete("the processes that map a file could not be read to their end");
      for (const guest::Task owner : owners) steps.push_back({reached, process_node(owner)});
      return;
    }
    default:
      if (env.filter) return follow_notes(reached, steps);
      env.carriers.receivers().for_each(reached.carrier, [&](uint64_t waiting) {
        const guest::Task receiver{Gva(waiting)};
        if (receiving(receiver)) steps.push_back({reached, process_node(receiver)});
      });
  }
}

// Every task in a call that receives has left a note of what from before it asked whether that is of interest: so
// either it found the mark, which is set by now, or its note is here.
void Operation::follow_notes(const Node& reached, std::vector<Step>& steps) {
  const auto look_at = [&](guest::Task task) {
    if (!receiving(task)) return true;
    guest::Reader reader(env.kernel);  // the task may be gone
    const Gva stack = reader.pointer(task.at, guest::Field::task_stack);
    const uint64_t note = reader.at<uint64_t>(stack + engine::kNoteOffset);
    if (!reader.failed() && note && carrier_of_note(*this, task, note) == reached.carrier)
      steps.push_back({reached, process_node(task)});
    return true;
  };
  // Other vCPUs go on: tasks that end under our eyes may lead astray, but hardly every time.
  bool complete = false;
  for (int attempt = 0; attempt < 3 && !complete; ++attempt) {
    guest::Reader walker(env.kernel);
    complete = guest::for_each_thread(walker, kMaxProcesses, look_at) && !walker.failed();
  }
  if (!complete) env.reporter.incomplete("the list of threads could not be read to its end");
}

void Operation::classify(const Node& file, uint64_t labels, std::string_view pattern) {
  const auto lock = env.carriers.lock();
  const Carrier identity = file.inode.at ? identity_of(file.inode) : Carrier();
  const labels::Spread spread = env.carriers.add(labels, file.carrier, identity);
  if (spread.full) env.reporter.incomplete("the table of managed objects is full");
  if (!spread.added) return;
  event::Event event;
  event.kind = Kind::classified;
  event.labels = spread.added;
  event.detail = pattern;
  describe_subject(*this, event, task());
  describe(r, file, event.object);
  event.object.id = spread.to_id;
  env.reporter.report(event);
  std::vector<Step> steps;
  follow(file, steps);
  for (size_t i = 0; i < steps.size() && i < kMaxSteps; ++i) apply(Step(steps[i]), steps);
}

void Operation::report(Kind kind, const Node& node, uint64_t labels, std::string detail, std::string path) {
  const auto lock = env.carriers.lock();
  event::Event event;
  event.kind = kind;
  event.labels = labels;
  event.detail = std::move(detail);
  describe_subject(*this, event, task());
  describe(r, node, event.object);
  event.object.id = env.carriers.find(node.carrier).id;
  if (!path.empty()) event.object.path = std::move(path);
  env.reporter.report(event);
}

void Operation::report_exec(const std::string& filename, std::string exe, uint64_t labels) {
  const auto lock = env.carriers.lock();
  event::Event event;
  event.kind = Kind::exec;
  event.labels = labels;
  describe_subject(*this, event, task());
  event.detail = event.subject.exe;                                             // what it was before
  event.subject.comm = filename.substr(filename.rfind('/') + 1).substr(0, 15);  // TASK_COMM_LEN, as the kernel will
  event.subject.exe = std::move(exe);
  event.object.type = ObjectType::process;
  event.object.process = event.subject;
  event.object.id = env.carriers.find(process()).id;
  env.reporter.report(event);
}

void Operation::deny() {
  verdict.deny = true;
  verdict.result = -1;  // EPERM
}

// Once for each digest, which is of the socket and where it leads to, in a process with these labels.
template <typename Describe>
void Operation::report_send(Kind kind, uint64_t digest, Describe describe_send) {
  const uint64_t labels = this->labels();
  for (const uint64_t part : {labels, uint64_t{tgid()}}) digest = (digest ^ part) * 0x9e3779b97f4a7c15;
  if (!env.carriers.first_leak(digest | 1)) return;

  const auto lock = env.carriers.lock();
  event::Event event;
  event.kind = kind;
  event.labels = labels;
  event.verdict = verdict.deny ? event::Verdict::deny : event::Verdict::alert;
  describe_subject(*this, event, task());
  if (labels) {
    describe(r, current_node(), event.from);
    event.from.id = env.carriers.find(process()).id;
  }
  describe_send(event);
  env.reporter.report(event);
}

template <typename Describe>
void Operation::leave(uint64_t digest, Describe describe_socket) {
  const char* const refused = env.carriers.sends_refused();
  if (labels()) {
    if (env.policy.deny_leaks) deny();
    report_send(Kind::leak, digest, [&](event::Event& event) { describe_socket(event.object); });
  } else if (refused) {
    deny();
    report_send(Kind::refused, digest, [&](event::Event& event) {
      describe_socket(event.object);
      event.detail = std::string("refused because the result is incomplete: ") + refused;
    });
  }
}

namespace {

uint64_t send_digest(guest::Sock sock, const guest::IpEndpoint& to) {
  uint64_t digest = (sock.at.value ^ to.port) * 0x9e3779b97f4a7c15;
  for (const uint8_t byte : to.address.bytes) digest = (digest ^ byte) * 0x100000001b3;
  return digest;
}

}  // namespace

void Operation::describe_socket(guest::Sock sock, const guest::IpEndpoint& to, event::Object& out) {
  Node node;
  node.carrier = Carrier(CarrierKind::socket, sock.at.value);
  node.sock = sock;
  node.to = to;
  describe(r, node, out);
}

void Operation::leave(guest::Sock sock, const guest::IpEndpoint& to) {
  leave(send_digest(sock, to), [&](event::Object& out) { describe_socket(sock, to, out); });
}

void Operation::leave(const event::Object& socket, uint64_t key) {
  leave(key * 0x9e3779b97f4a7c15, [&](event::Object& out) { out = socket; });
}

void Operation::send_untraced(guest::Sock sock, const guest::IpEndpoint& to, const char* what) {
  if (!labels()) return;
  if (!env.policy.deny_leaks) return env.reporter.incomplete(what);
  deny();
  report_send(Kind::refused, send_digest(sock, to), [&](event::Event& event) {
    describe_socket(sock, to, event.object);
    event.detail = "refused because it could not be traced";
  });
}

}  // namespace oboro::hooks
