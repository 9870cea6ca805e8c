// The table of hook points: the kernel functions at which Oboro stops a vCPU, and the handler of each.
#pragma once

#include <span>
#include <string_view>

#include "guest/profile/profile.h"
#include "hooks/interest.h"
#include "hooks/operation.h"

namespace oboro::hooks {

// What runs at a hook: a function, or a member function of an object that lives as long as the hook.
class Handler {
 public:
  constexpr Handler(void (*function)(Operation&)) : function_(function) {}
  template <auto Method, typename Object>
  static Handler of(Object& object) {
    return {[](Operation& op, void* context) { (static_cast<Object*>(context)->*Method)(op); }, &object};
  }
  void operator()(Operation& op) const { object_ ? method_(op, object_) : function_(op); }

 private:
  Handler(void (*method)(Operation&, void*), void* object) : method_(method), object_(object) {}
  union {
    void (*function_)(Operation&);
    void (*method_)(Operation&, void*);
  };
  void* object_ = nullptr;
};

struct HookPoint {
  guest::Symbol function;
  Handler handler;
  bool leads_out;         // the data may leave the machine, or go where labels cannot follow: the call may be denied
  Interest interest;      // a call of no interest need not reach the handler
  std::string_view what;  // what is not traced where the kernel lacks this function; for `oboro status`
};

// All of them, in no particular order. Where a kernel lacks an optional function, the tracer reports `what`. Hook
// points whose interest is known_dentry are for engines that filter.
std::span<const HookPoint> hook_points();

// What the policy makes of a hook point: whether its handler may refuse the call, so that the engine must be able to;
// and which of its calls are of interest.
bool may_deny(const HookPoint& point, const policy::Policy& policy);
Interest interest_of(const HookPoint& point, const policy::Policy& policy);

// The functions to choose where no more than four can be watched: reading and writing, sending, receiving, fork. With
// these, Environment::opens_unseen is set.
std::span<const guest::Symbol> essential_functions();

// Runs the handler. Reports the result as incomplete if the handler could not read something.
void dispatch(const HookPoint& point, Operation& operation);

// The handlers, each named after its kernel function. Arguments are those of the function.
void on_file_open(Operation&);
void on_d_instantiate(Operation&);
void on_file_permission(Operation&);
void on_mmap_file(Operation&);
void on_file_mprotect(Operation&);
void on_inode_free(Operation&);
void on_inode_link(Operation&);
void on_d_move(Operation&);
void on_d_exchange(Operation&);
void on_d_delete(Operation&);
void on_free_pipe_info(Operation&);
void on_do_splice(Operation&);
void on_splice_file_to_pipe(Operation&);
void on_do_splice_direct(Operation&);
void on_do_tee(Operation&);
void on_vmsplice(Operation&);
void on_wake_up_new_task(Operation&);
void on_begin_new_exec(Operation&);
void on_release_task(Operation&);
void on_ptrace_access_check(Operation&);
void on_access_remote_vm(Operation&);
void on_machine_kexec(Operation&);
void on_socket_sendmsg(Operation&);
void on_socket_recvmsg(Operation&);
void on_unix_may_send(Operation&);
void on_inet_conn_established(Operation&);
void on_socket_release(Operation&);
void on_sk_free(Operation&);
void on_msg_queue_msgsnd(Operation&);
void on_msg_queue_msgrcv(Operation&);
void on_msg_queue_free(Operation&);
void on_mq_timedsend(Operation&);
void on_mq_timedreceive(Operation&);
void on_pty_cleanup(Operation&);

// What a read from, or a write to, a file of any type means. Shared by read, write, splice, and their kin.
void take_from_file(Operation&, guest::File);
void give_to_file(Operation&, guest::File);
// The labels of an inode: by its address or, where it was not opened since it came into memory, by its identity. Not
// for reading and writing, which always follow an open.
uint64_t labels_of_file(Operation&, guest::Inode);
// What a send or a receive on a socket means. msghdr: null where there is none.
void send_on_socket(Operation&, guest::Sock, Gva msghdr);
void receive_from_socket(Operation&, guest::Sock);
labels::Carrier receiving_carrier(Operation&, guest::Sock);
// The carrier from which a task that left this note (engine/filter.h) may be about to receive; none if there is none.
labels::Carrier carrier_of_note(Operation&, guest::Task, uint64_t note);

}  // namespace oboro::hooks
