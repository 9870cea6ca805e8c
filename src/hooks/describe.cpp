#include "hooks/describe.h"

#include "guest/who.h"
#include "hooks/operation.h"

namespace oboro::hooks {

using event::ObjectType;

event::Subject subject_of(guest::Reader& r, guest::Task of) {
  event::Subject s;
  s.pid = of.tgid(r);
  s.tid = of.pid(r);
  s.start_time_ns = of.start_time(r);
  s.comm = of.leader(r).comm(r);
  s.exe = of.exe(r);
  s.cgroup = of.cgroup(r);
  return s;
}

namespace {

// Has readers of its own: a member that cannot be read here makes no result incomplete.
void add_who(Operation& op, guest::Task of, event::Subject& out) {
  const auto kernel = [&] { return guest::Reader(op.env.kernel); };
  guest::Runner runner = guest::runner_of(out.cgroup);
  out.unit = std::move(runner.unit);
  out.container = std::move(runner.container);
  guest::Reader parent = kernel(), user = kernel(), login = kernel();
  out.parent = guest::parent(parent, of);
  out.uid = guest::user(user, of).value_or(event::kNoUser);
  out.login_uid = guest::login_user(login, of).value_or(event::kNoUser);
  out.user = op.env.users.name(out.uid);
  out.login_user = out.login_uid == out.uid ? out.user : op.env.users.name(out.login_uid);
  if (of.at != op.task().at) return;  // another vCPU may be changing its memory
  guest::Reader arguments = kernel();
  out.argv = guest::arguments(arguments, of);
}

}  // namespace

void describe_subject(Operation& op, event::Event& event, guest::Task of) {
  event.subject = subject_of(op.r, of);
  add_who(op, of, event.subject);
  event.syscall = arch::system_call_name(of.at == op.task().at ? op.system_call() : op.env.tasks.system_call(op.r, of));
}

namespace {

void describe(guest::Reader&, std::monostate, event::Object&) {}

void describe(guest::Reader& r, const ProcessNode& node, event::Object& out) {
  out.type = ObjectType::process;
  out.process = subject_of(r, node.task);
}

void describe(guest::Reader& r, const FileNode& node, event::Object& out) {
  out.type = ObjectType::file;
  const guest::Dentry name = node.name.at ? node.name : node.inode.any_name(r);
  if (name.at) out.path = name.true_path(r);
  out.inode = node.inode.number(r);
  out.generation = node.inode.generation(r);
  out.fs = file_system_of(r, node.inode);
  out.fs_type = node.inode.super_block(r).type(r);
}

void describe(guest::Reader&, const OutsideFileNode& node, event::Object& out) { out = *node.description; }

void describe_ends(const guest::IpEndpoint& local, const guest::IpEndpoint& remote, event::Object& out) {
  out.local = {local.address.text(), local.port};
  if (remote.port || !remote.address.is_any()) out.remote = {remote.address.text(), remote.port};
}

void describe(guest::Reader& r, const SocketNode& node, event::Object& out) {
  out.type = ObjectType::socket;
  out.protocol = node.sock.protocol_name(r);
  if (node.sock.family(r) == guest::Family::local) {
    out.local.address = node.sock.unix_name(r);
    const guest::Sock peer = node.sock.unix_peer(r);
    if (peer.at) out.remote.address = peer.unix_name(r);
    return;
  }
  const bool addressed = node.to.port || !node.to.address.is_any();
  describe_ends(node.sock.local(r), addressed ? node.to : node.sock.remote(r), out);
}

// The connection as its receiving end sees it.
void describe(guest::Reader& r, const ConnectionNode& node, event::Object& out) {
  out.type = ObjectType::socket;
  out.protocol = node.sock.protocol_name(r);
  const guest::IpEndpoint local = node.sock.local(r), remote = node.sock.remote(r);
  describe_ends(node.receiving ? local : remote, node.receiving ? remote : local, out);
}

void describe(guest::Reader& r, const PipeNode& node, event::Object& out) {
  out.type = ObjectType::pipe;
  if (!node.inode.at) return;
  out.inode = node.inode.number(r);
  if (node.name.at) out.path = node.name.true_path(r);
}

void describe(guest::Reader& r, const TerminalNode& node, event::Object& out) {
  out.type = ObjectType::terminal;
  if (r.profile().has(guest::Field::tty_struct_name))
    out.path = "/dev/" + r.string(node.tty + r.profile()[guest::Field::tty_struct_name], 64);
}

void describe(guest::Reader& r, const QueueNode& node, event::Object& out) {
  out.type = ObjectType::queue;
  if (node.name.at) out.path = node.name.true_path(r);
}

}  // namespace

std::string file_system_of(guest::Reader& r, guest::Inode inode) {
  const guest::SuperBlock sb = inode.super_block(r);
  return inode.identity(r).persistent() ? sb.name(r) : sb.device_name(r);
}

void describe(guest::Reader& r, const Node& node, event::Object& out) {
  std::visit([&](const auto& one) { describe(r, one, out); }, node.what);
}

}  // namespace oboro::hooks
