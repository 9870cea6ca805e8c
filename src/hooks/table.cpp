#include "hooks/table.h"

namespace oboro::hooks {
namespace {

using guest::Symbol;

// Why these: the LSM functions (security_*) are the kernel's own choke points - every variant of a call passes the same
// one, with the kernel's own objects as arguments, and a refusal there is a refusal of the call. The others fill the
// gaps that the LSM leaves (docs/channels.md).
constexpr HookPoint kPoints[] = {
    {Symbol::fn_file_open, on_file_open, false, "classification by path"},
    {Symbol::fn_file_permission, on_file_permission, false, "read and write"},
    {Symbol::fn_mmap_file, on_mmap_file, false, "mmap"},
    {Symbol::fn_file_mprotect, on_file_mprotect, false, "mprotect of shared mappings"},
    {Symbol::fn_inode_free, on_inode_free, false, "the end of files"},
    {Symbol::fn_inode_link, on_inode_link, false, "link"},
    {Symbol::fn_d_move, on_d_move, false, "rename"},
    {Symbol::fn_d_exchange, on_d_exchange, false, "rename with RENAME_EXCHANGE"},
    {Symbol::fn_d_delete, on_d_delete, false, "unlink"},
    {Symbol::fn_free_pipe_info, on_free_pipe_info, false, "the end of pipes"},
    {Symbol::fn_do_splice, on_do_splice, true, "splice"},
    {Symbol::fn_splice_file_to_pipe, on_splice_file_to_pipe, false, "sendfile to pipes"},
    {Symbol::fn_do_splice_direct, on_do_splice_direct, true, "sendfile"},
    {Symbol::fn_do_tee, on_do_tee, false, "tee"},
    {Symbol::fn_vmsplice, on_vmsplice, false, "vmsplice"},
    {Symbol::fn_wake_up_new_task, on_wake_up_new_task, false, "fork"},
    {Symbol::fn_begin_new_exec, on_begin_new_exec, false, "exec"},
    {Symbol::fn_release_task, on_release_task, false, "the end of processes"},
    {Symbol::fn_ptrace_access_check, on_ptrace_access_check, false, "ptrace, /proc/PID/mem and process_vm_readv"},
    {Symbol::fn_access_remote_vm, on_access_remote_vm, false, "ptrace PEEK and POKE"},
    {Symbol::fn_machine_kexec, on_machine_kexec, false, "kexec"},
    {Symbol::fn_socket_sendmsg, on_socket_sendmsg, true, "sending on sockets"},
    {Symbol::fn_socket_recvmsg, on_socket_recvmsg, false, "receiving from sockets"},
    {Symbol::fn_unix_may_send, on_unix_may_send, false, "UNIX datagrams"},
    {Symbol::fn_inet_conn_established, on_inet_conn_established, false, "new TCP connections"},
    {Symbol::fn_inet_release, on_socket_release, false, "the end of INET sockets"},
    {Symbol::fn_unix_release, on_socket_release, false, "the end of UNIX sockets"},
    {Symbol::fn_sk_free, on_sk_free, false, "the end of sockets"},
    {Symbol::fn_msg_queue_msgsnd, on_msg_queue_msgsnd, false, "SysV message queues"},
    {Symbol::fn_msg_queue_msgrcv, on_msg_queue_msgrcv, false, "SysV message queues"},
    {Symbol::fn_msg_queue_free, on_msg_queue_free, false, "the end of SysV message queues"},
    {Symbol::fn_mq_timedsend, on_mq_timedsend, false, "POSIX message queues"},
    {Symbol::fn_mq_timedreceive, on_mq_timedreceive, false, "POSIX message queues"},
    {Symbol::fn_pty_cleanup, on_pty_cleanup, false, "the end of pseudo-terminals"},
};

}  // namespace

std::span<const HookPoint> hook_points() { return kPoints; }

void dispatch(const HookPoint& point, Operation& operation) {
  point.handler(operation);
  if (operation.r.failed()) operation.env.reporter.incomplete(point.what.data());
}

}  // namespace oboro::hooks
