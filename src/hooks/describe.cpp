#include "hooks/describe.h"

#include "arch/x86_64/syscalls.h"
#include "hooks/operation.h"

namespace oboro::hooks {

using event::ObjectType;
using labels::CarrierKind;

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

void describe_subject(Operation& op, event::Event& event, guest::Task of) {
  event.subject = subject_of(op.r, of);
  event.syscall = arch::syscall_name(of.at == op.task().at ? op.system_call() : op.env.tasks.system_call(op.r, of));
}

void describe(guest::Reader& r, const Node& node, event::Object& out) {
  switch (node.carrier.kind()) {
    case CarrierKind::process:
      out.type = ObjectType::process;
      out.process = subject_of(r, node.task);
      return;
    case CarrierKind::inode: {
      out.type = ObjectType::file;
      guest::Dentry dentry = node.dentry;
      if (!dentry.at) dentry = node.inode.any_name(r);
      if (dentry.at) out.path = dentry.true_path(r);
      out.inode = node.inode.number(r);
      out.generation = node.inode.generation(r);
      const guest::SuperBlock sb = node.inode.super_block(r);
      out.fs = node.inode.identity(r).persistent() ? sb.name(r) : sb.device_name(r);
      out.fs_type = sb.type(r);
      return;
    }
    case CarrierKind::socket:
    case CarrierKind::flow: {
      out.type = ObjectType::socket;
      out.protocol = node.sock.protocol_name(r);
      if (node.sock.family(r) == guest::Family::local) {
        out.local.address = node.sock.unix_name(r);
        const guest::Sock peer = node.sock.unix_peer(r);
        if (peer.at) out.remote.address = peer.unix_name(r);
        return;
      }
      guest::IpEndpoint local = node.sock.local(r);
      guest::IpEndpoint remote = node.sock.remote(r);
      if (node.to.port || !node.to.address.is_any()) remote = node.to;
      // A flow is named as its receiving end sees it.
      if (node.carrier.kind() == CarrierKind::flow && !node.receiving) std::swap(local, remote);
      out.local = {local.address.text(), local.port};
      if (remote.port || !remote.address.is_any()) out.remote = {remote.address.text(), remote.port};
      return;
    }
    case CarrierKind::pipe:
      out.type = ObjectType::pipe;
      if (node.inode.at) {
        out.inode = node.inode.number(r);
        if (node.dentry.at) out.path = node.dentry.true_path(r);
      }
      return;
    case CarrierKind::terminal:
      out.type = ObjectType::terminal;
      if (r.profile().has(guest::Field::tty_struct_name))
        out.path = "/dev/" + r.string(node.object + r.profile()[guest::Field::tty_struct_name], 64);
      return;
    case CarrierKind::queue:
      out.type = ObjectType::queue;
      if (node.dentry.at) out.path = node.dentry.true_path(r);
      return;
    case CarrierKind::file:
      if (node.outside) out = *node.outside;
      return;
    case CarrierKind::none:
      return;
  }
}

}  // namespace oboro::hooks
