// Processes: fork, exec, end, and access to each other's memory.

#include "guest/who.h"
#include "hooks/table.h"

namespace oboro::hooks {

using guest::Field;
using labels::Carrier;
using labels::CarrierKind;

namespace {

constexpr uint64_t kPtraceModeAttach = 0x2;  // include/linux/ptrace.h
constexpr uint64_t kFollWrite = 0x1;         // FOLL_WRITE, include/linux/mm_types.h

}  // namespace

void on_wake_up_new_task(Operation& op) {
  if (op.env.watcher) op.env.watcher->forked(op, guest::Task{op.pointer(0)});
  if (!op.labels()) return;
  const guest::Task child{op.pointer(0)};
  if (child.tgid(op.r) == op.tgid() || child.is_kernel_thread(op.r)) return;  // a thread: same process
  op.give(process_node(op.r, child));
}

void on_begin_new_exec(Operation& op) {
  const uint64_t labels = op.labels();
  if (!labels) return;
  const Gva program = op.pointer(0);
  const guest::File file{op.r.pointer(program, Field::binprm_file)};
  guest::Reader arguments = op.r.another();  // arguments that cannot be read make nothing incomplete
  op.report_exec(op.r.string(op.r.pointer(program, Field::binprm_filename), guest::kMaxPath),
                 file.at ? file.path(op.r) : std::string(), guest::arguments_of_program(arguments, program), labels);
}

// After this function, the thread-group ID may be used again.
void on_release_task(Operation& op) {
  const guest::Task ending{op.pointer(0)};
  const uint32_t tgid = ending.tgid(op.r);
  const Carrier carrier(CarrierKind::process, tgid);
  const uint64_t labels = op.env.carriers.labels(carrier);
  if (!labels || ending.pid(op.r) != tgid) return;
  op.report(event::Kind::exited, process_node(op.r, ending), labels);
  const auto lock = op.env.carriers.lock();
  op.env.carriers.erase(carrier);
}

// A process that attaches counts as reading and writing the other's memory from then on (ptrace, /proc/PID/mem,
// process_vm_*).
void on_ptrace_access_check(Operation& op) {
  if (!(op.value(1) & kPtraceModeAttach)) return;
  const guest::Task other{op.pointer(0)};
  if (other.tgid(op.r) == op.tgid()) return;
  op.take(process_node(op.r, other));
  op.give(process_node(op.r, other));
}

// Access to another process's memory, while attached. read() of /proc/PID/cmdline and environ comes this way, too: `ps`
// must not become managed because it shows a managed process, and the open of /proc/PID/mem has already counted as
// attaching.
void on_access_remote_vm(Operation& op) {
  const uint64_t number = op.system_call();
  if (number != arch::sys::ptrace && number != arch::sys::pread64 && number != arch::sys::pwrite64) return;
  const guest::Task other{op.r.pointer(op.pointer(0), Field::mm_owner)};
  if (!other.at || other.tgid(op.r) == op.tgid()) return;
  op.take(process_node(op.r, other));
  if (op.value(4) & kFollWrite) op.give(process_node(op.r, other));
}

void on_machine_kexec(Operation& op) { op.env.reporter.kernel_replaced(); }

}  // namespace oboro::hooks
