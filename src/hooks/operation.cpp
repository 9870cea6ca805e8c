#include "hooks/operation.h"

#include <vector>

#include "hooks/propagation.h"

namespace oboro::hooks {

using event::Kind;
using event::ObjectType;
using labels::Carrier;
using labels::CarrierKind;

void Operation::find_task() {
  const uint64_t per_cpu = env.per_cpu_base(vcpu);
  task_ = env.tasks.current(r, per_cpu);
  if (!env.tasks.stack_known()) env.tasks.learn_stack(r, per_cpu, task_);
  tgid_ = task_.tgid(r);
}

void Operation::take(const Node& node) {
  const uint64_t labels = env.carriers.labels(node.carrier);
  if (labels == 0 || (labels & ~this->labels()) == 0) return;
  if (task().is_kernel_thread(r)) {
    env.reporter.incomplete("a kernel thread received classified data");
    return;
  }
  flow(node, running());
}

void Operation::give(const Node& node) {
  const uint64_t labels = this->labels();
  if (labels == 0 || (labels & ~env.carriers.labels(node.carrier)) == 0) return;
  flow(running(), node);
}

void Operation::give(std::span<const Node> nodes) {
  const uint64_t labels = this->labels();
  if (labels == 0) return;
  std::vector<Node> lack;
  for (const Node& node : nodes)
    if (labels & ~env.carriers.labels(node.carrier)) lack.push_back(node);
  if (!lack.empty()) Propagation(*this).run(running(), lack);
}

void Operation::flow(const Node& from, const Node& to) { Propagation(*this).run(from, {&to, 1}); }

void Operation::classify(const Node& file, uint64_t labels, std::string_view pattern) {
  Propagation(*this).classify(file, labels, pattern);
}

policy::Decision Operation::decide(Carrier from, Carrier to, uint64_t labels, policy::Channel channel) {
  const policy::Decision decision =
      policy::decide(env.policy, env.situation(), {system_call(), tgid(), from, to, labels, channel});
  if (decision.denies()) deny(decision.error);
  return decision;
}

bool Operation::is_receiving(guest::Task of) {
  guest::Reader reader = r.another();  // the task may be gone. Then reading fails, and that is no failure of this hook
  const uint64_t number = env.tasks.system_call(reader, of);
  return !reader.failed() && arch::may_receive(number);
}

void Operation::remember_receiver(Carrier carrier) {
  if (env.filter) return;  // the task has left a note itself
  const bool kept = env.carriers.receivers().remember(
      carrier, task().at.value, [this](uint64_t other) { return is_receiving(guest::Task{Gva(other)}); });
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

Carrier Operation::identity_of(guest::Inode inode) {
  const bool failed_before = r.failed();
  r.clear_failure();
  const Carrier identity(CarrierKind::file, inode.identity(r).hash());
  const bool failed = r.failed();
  if (failed_before) r.fail();
  return failed ? Carrier() : identity;
}

void Operation::report(Kind kind, const Node& node, uint64_t labels, std::string old_path) {
  const auto lock = env.carriers.lock();
  event::Event event;
  event.kind = kind;
  if (kind == Kind::renamed) event.set(event::Renamed{std::move(old_path)});
  event.labels = labels;
  describe_subject(*this, event, task());
  describe(r, node, event.object);
  event.object.id = env.carriers.find(node.carrier).id;
  env.report(event);
}

void Operation::report_exec(const std::string& filename, std::string exe, std::vector<std::string> argv,
                            uint64_t labels) {
  const auto lock = env.carriers.lock();
  event::Event event;
  event.labels = labels;
  describe_subject(*this, event, task());
  event::Subject& after = event.subject;
  event.set(event::Exec{std::move(after.exe)});
  after.comm = filename.substr(filename.rfind('/') + 1).substr(0, 15);  // TASK_COMM_LEN, as the kernel will
  after.exe = std::move(exe);
  after.argv = std::move(argv);
  event.object.type = ObjectType::process;
  event.object.process = {after.pid, after.tid, after.start_time_ns, after.comm, after.exe, after.cgroup};
  event.object.id = env.carriers.find(process()).id;
  env.report(event);
}

namespace {

uint64_t send_digest(guest::Sock sock, const guest::IpEndpoint& to) {
  uint64_t digest = (sock.at.value ^ to.port) * 0x9e3779b97f4a7c15;
  for (const uint8_t byte : to.address.bytes) digest = (digest ^ byte) * 0x100000001b3;
  return digest;
}

auto socket_description(guest::Reader& r, guest::Sock sock, const guest::IpEndpoint& to) {
  return [&r, node = Node{{CarrierKind::socket, sock.at.value}, SocketNode{sock, to}}](event::Object& out) {
    describe(r, node, out);
  };
}

}  // namespace

// Reported once for each digest, with the process and its labels. The digest is of the socket and its destination.
template <typename Describe>
void Operation::send(policy::Channel channel, uint64_t digest, const char* untraced, Describe describe_socket) {
  const uint64_t labels = this->labels();
  const policy::Decision decision = decide(process(), {}, labels, channel);
  if (decision.reason == policy::Reason::none) return;
  if (decision.reason == policy::Reason::untraced && !decision.denies()) return env.reporter.incomplete(untraced);
  for (const uint64_t part : {labels, uint64_t{tgid()}}) digest = (digest ^ part) * 0x9e3779b97f4a7c15;
  if (!env.carriers.first_leak(digest | 1)) return;

  const auto lock = env.carriers.lock();
  event::Event event;
  event.kind = Kind::leak;
  if (decision.reason == policy::Reason::unvouched) {
    const char* why = env.carriers.sends_refused();  // it may be over by now
    event.set(event::Refused{why != labels::kNoJournal, why ? why : "tracing could not be vouched for"});
  }
  if (decision.reason == policy::Reason::untraced) event.set(event::Refused{false, "it could not be traced"});
  event.labels = labels;
  event.verdict = decision.denies() ? event::Verdict::deny : event::Verdict::alert;
  describe_subject(*this, event, task());
  if (labels) {
    describe(r, running(), event.from);
    event.from.id = env.carriers.find(process()).id;
  }
  describe_socket(event.object);
  env.report(event);
}

void Operation::leave(guest::Sock sock, const guest::IpEndpoint& to) {
  send(policy::Channel::remote, send_digest(sock, to), nullptr, socket_description(r, sock, to));
}

void Operation::leave(const event::Object& socket, uint64_t key) {
  send(policy::Channel::remote, key * 0x9e3779b97f4a7c15, nullptr, [&](event::Object& out) { out = socket; });
}

void Operation::send_untraced(guest::Sock sock, const guest::IpEndpoint& to, const char* what) {
  send(policy::Channel::untraced, send_digest(sock, to), what, socket_description(r, sock, to));
}

}  // namespace oboro::hooks
