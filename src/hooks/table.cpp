#include "hooks/table.h"

namespace oboro::hooks {
namespace {

using guest::Symbol;

// Why these functions: the LSM functions (security_*) are the kernel's own choke points. Every variant of a call passes
// the same one, with the kernel's own objects as arguments, and a refusal there is a refusal of the call. The other
// functions fill the gaps that the LSM leaves (docs/channels.md).
constexpr HookPoint kPoints[] = {
    {Symbol::fn_file_open, on_file_open, false, Interest::opened_name, "classification by path"},
    {Symbol::fn_d_instantiate, on_d_instantiate, false, Interest::known_dentry, "new names of files"},
    {Symbol::fn_file_permission, on_file_permission, false, Interest::access, "read and write"},
    {Symbol::fn_mmap_file, on_mmap_file, false, Interest::mapped, "mmap"},
    {Symbol::fn_file_mprotect, on_file_mprotect, false, Interest::managed, "mprotect of shared mappings"},
    {Symbol::fn_inode_free, on_inode_free, false, Interest::object, "the end of files"},
    {Symbol::fn_inode_link, on_inode_link, false, Interest::every_call, "link"},
    {Symbol::fn_d_move, on_d_move, false, Interest::every_call, "rename"},
    {Symbol::fn_d_exchange, on_d_exchange, false, Interest::every_call, "rename with RENAME_EXCHANGE"},
    {Symbol::fn_d_delete, on_d_delete, false, Interest::every_call, "unlink"},
    {Symbol::fn_free_pipe_info, on_free_pipe_info, false, Interest::object, "the end of pipes"},
    {Symbol::fn_do_splice, on_do_splice, true, Interest::readable, "splice"},
    {Symbol::fn_splice_file_to_pipe, on_splice_file_to_pipe, false, Interest::readable, "sendfile to pipes"},
    {Symbol::fn_do_splice_direct, on_do_splice_direct, true, Interest::readable, "sendfile"},
    {Symbol::fn_do_tee, on_do_tee, false, Interest::readable, "tee"},
    {Symbol::fn_vmsplice, on_vmsplice, false, Interest::descriptor_in_registers, "vmsplice"},
    {Symbol::fn_wake_up_new_task, on_wake_up_new_task, false, Interest::managed, "fork"},
    {Symbol::fn_begin_new_exec, on_begin_new_exec, false, Interest::managed, "exec"},
    {Symbol::fn_release_task, on_release_task, false, Interest::task, "the end of processes"},
    {Symbol::fn_ptrace_access_check, on_ptrace_access_check, false, Interest::managed_or_task,
     "ptrace, /proc/PID/mem and process_vm_readv"},
    {Symbol::fn_access_remote_vm, on_access_remote_vm, false, Interest::managed_or_owner, "ptrace PEEK and POKE"},
    {Symbol::fn_machine_kexec, on_machine_kexec, false, Interest::every_call, "kexec"},
    {Symbol::fn_socket_sendmsg, on_socket_sendmsg, true, Interest::sending, "sending on sockets"},
    {Symbol::fn_socket_recvmsg, on_socket_recvmsg, false, Interest::receiving, "receiving from sockets"},
    {Symbol::fn_unix_may_send, on_unix_may_send, false, Interest::managed, "UNIX datagrams"},
    {Symbol::fn_inet_conn_established, on_inet_conn_established, false, Interest::connection, "new TCP connections"},
    {Symbol::fn_inet_release, on_socket_release, false, Interest::socket, "the end of INET sockets"},
    {Symbol::fn_unix_release, on_socket_release, false, Interest::socket, "the end of UNIX sockets"},
    {Symbol::fn_sk_free, on_sk_free, false, Interest::object, "the end of sockets"},
    {Symbol::fn_msg_queue_msgsnd, on_msg_queue_msgsnd, false, Interest::managed, "SysV message queues"},
    {Symbol::fn_msg_queue_msgrcv, on_msg_queue_msgrcv, false, Interest::object, "SysV message queues"},
    {Symbol::fn_msg_queue_free, on_msg_queue_free, false, Interest::object, "the end of SysV message queues"},
    {Symbol::fn_mq_timedsend, on_mq_timedsend, false, Interest::managed, "POSIX message queues"},
    {Symbol::fn_mq_timedreceive, on_mq_timedreceive, false, Interest::descriptor, "POSIX message queues"},
    {Symbol::fn_pty_cleanup, on_pty_cleanup, false, Interest::object, "the end of pseudo-terminals"},
};

constexpr Symbol kEssential[] = {Symbol::fn_file_permission, Symbol::fn_socket_sendmsg, Symbol::fn_socket_recvmsg,
                                 Symbol::fn_wake_up_new_task};

}  // namespace

std::span<const HookPoint> hook_points() { return kPoints; }

bool may_deny(const HookPoint& point, const policy::Policy& policy) {
  return point.leads_out && (policy.may_deny(policy::Channel::remote) || policy.may_deny(policy::Channel::untraced));
}

Interest interest_of(const HookPoint& point, const policy::Policy& policy) {
  if (policy.may_refuse_all()) {  // then who is not managed may be refused to send, too
    if (point.interest == Interest::sending) return Interest::sending_or_refused;
    if (point.leads_out && point.interest == Interest::readable) return Interest::readable_or_refused;
  }
  return point.interest;
}

std::span<const Symbol> essential_functions() { return kEssential; }

void dispatch(const HookPoint& point, Operation& operation) {
  point.handler(operation);
  if (operation.r.failed()) operation.env.reporter.incomplete(point.what.data());
  if (operation.r.exhausted())
    operation.env.reporter.incomplete("one call made the tracer read more of the guest's memory than it may");
}

}  // namespace oboro::hooks
