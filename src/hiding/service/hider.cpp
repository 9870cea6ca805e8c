#include "hiding/service/hider.h"

#include <array>
#include <cerrno>
#include <fmt/format.h>
#include <netinet/in.h>
#include <utility>

#include "hiding/calls/calls.h"
#include "hooks/filter.h"

namespace oboro::hiding {

using guest::Field;
using guest::Symbol;
using hooks::Operation;

namespace {

constexpr uint32_t kIoWorker = 0x10;    // PF_IO_WORKER
constexpr uint64_t kDispatch = 59;      // PR_SET_SYSCALL_USER_DISPATCH
constexpr size_t kMostThreads = 16384;  // of one service
constexpr const char* kTooManyDescriptors = "a process of a hidden service has lost descriptors: there are too many";

Routine<Outcome> start_free(Thread& thread, SystemCall) { return thread.free_buffer(); }

// After a fork or an exec the guest knows nothing of our numbers. They are reserved again before anything else is done.
Routine<Outcome> repaired(Thread& thread, SystemCall call) {
  uint32_t number = 0;
  for (auto one = thread.descriptors->next(0); one; one = thread.descriptors->next(uint64_t{number} + 1)) {
    number = one->number;
    const uint64_t flags = one->close_on_exec ? kCloseOnExec : 0;
    one.reset();  // it is not to be held while the guest's kernel works
    if (thread.reserved(number)) continue;
    const auto got =
        static_cast<int32_t>(co_await thread.call(Symbol::call_alloc_fd, number, uint64_t{number} + 1, flags));
    if (got < 0) (void)thread.descriptors->take(number);
  }
  thread.repair = false;
  const CallHandler* handler = handler_of(call.number);
  if (!handler || (handler->descriptor >= 0 &&
                   !thread.descriptors->has(static_cast<uint32_t>(call.a[static_cast<size_t>(handler->descriptor)]))))
    co_return Outcome{};
  co_return co_await handler->run(thread, call);
}

// Closes what is not to be open in the new program. The kernel has closed its own descriptors already.
Routine<Outcome> close_for_exec(Thread& thread, bool all) {
  uint32_t number = 0;
  for (auto one = thread.descriptors->next(0); one; one = thread.descriptors->next(uint64_t{number} + 1)) {
    number = one->number;
    if (!all && !one->close_on_exec) continue;
    one.reset();  // the file is closed with its last number
    (void)thread.descriptors->take(number);
    if (thread.reserved(number)) co_await thread.call(Symbol::call_put_unused_fd, number);
  }
  if (all) co_return co_await thread.free_buffer();
  co_return Outcome{};
}
Routine<Outcome> keep_for_exec(Thread& thread, SystemCall) { return close_for_exec(thread, false); }
Routine<Outcome> leave_at_exec(Thread& thread, SystemCall) { return close_for_exec(thread, true); }

}  // namespace

std::string Hider::missing(const guest::Profile& profile) {
  for (const Symbol symbol :
       {Symbol::fn_syscall_user_dispatch, Symbol::fn_bprm_committed_creds, Symbol::fn_exit_files,
        Symbol::call_get_unused_fd_flags, Symbol::call_put_unused_fd, Symbol::call_alloc_fd, Symbol::call_close_fd,
        Symbol::call_do_select, Symbol::call_send_sig, Symbol::call_set_user_sigmask, Symbol::call_sys_chdir,
        Symbol::call_sys_fchdir, Symbol::call_sys_poll, Symbol::call_sys_epoll_create1, Symbol::call_sys_epoll_ctl,
        Symbol::call_sys_epoll_wait, Symbol::call_sys_epoll_pwait})
    if (!profile.has(symbol)) return std::string(guest::name(symbol));
  for (const Field field : {Field::thread_info_syscall_work, Field::syscall_user_dispatch_bit, Field::task_on_dispatch,
                            Field::task_dispatch_length, Field::task_fs, Field::fs_struct_pwd, Field::fs_struct_root,
                            Field::fs_struct_umask, Field::fdtable_open_fds})
    if (!profile.has(field)) return std::string(guest::name(field));
  return std::string(steer::SteeredTask::missing(profile));
}

std::vector<std::string> Hider::executables(std::span<const std::unique_ptr<Service>> services) {
  std::vector<std::string> names;
  for (const auto& service : services) {
    if (service->exe.empty()) return {};
    names.push_back(service->exe.substr(service->exe.rfind('/') + 1));
  }
  return names;
}

std::shared_ptr<Thread> Hider::find(Gva task) {
  const std::lock_guard lock(mutex_);
  const auto found = threads_.find(task.value);
  return found == threads_.end() ? nullptr : found->second;
}

Hider::Held Hider::take(Operation& op, Gva task) {
  std::shared_ptr<Thread> thread = find(task);
  if (!thread) return nullptr;
  if (!thread->take()) {
    op.env.reporter.incomplete("a thread of a hidden service ran on two CPUs at the same time");
    return nullptr;
  }
  Thread* held = thread.get();
  return Held(held, Leave{std::move(thread)});
}

Hider::Held Hider::add(Operation& op, guest::Task task, Service& service) {
  const uint32_t tgid = task.tgid(op.r);
  auto thread = std::make_shared<Thread>(kernel_, service, wait_, task, tgid);
  (void)thread->take();
  const auto lock = op.env.carriers.lock();
  const std::lock_guard own(mutex_);
  forget(op, task.at);  // forgets a task that was at this address, and whose end was not seen
  if (threads_of_[&service] >= kMostThreads) {
    op.env.reporter.incomplete("a thread of a hidden service is not hidden");
    return nullptr;
  }
  threads_.emplace(task.at.value, thread);
  ++threads_of_[&service];
  if (processes_[tgid]++ == 0 && op.env.marks) op.env.marks->keep(tgid);
  Thread* held = thread.get();
  return Held(held, Leave{std::move(thread)});
}

void Hider::remove(Operation& op, guest::Task task) {
  const auto lock = op.env.carriers.lock();
  const std::lock_guard own(mutex_);
  forget(op, task.at);
}

// Both locks are held.
void Hider::forget(Operation& op, Gva task) {
  const auto found = threads_.find(task.value);
  if (found == threads_.end()) return;
  const uint32_t tgid = found->second->tgid();
  --threads_of_[&found->second->service()];
  threads_.erase(found);
  if (--processes_[tgid] != 0) return;
  processes_.erase(tgid);
  if (op.env.marks) op.env.marks->let_go(tgid, op.env.carriers.labels({labels::CarrierKind::process, tgid}) != 0);
}

bool Hider::mark(guest::Task task, bool on) {
  const guest::Profile& p = kernel_.profile();
  // A marked task must not depend on the hook. It may have seen its mark and been preempted, and calls
  // syscall_user_dispatch() after the hook is out again. That would end the task by SIGSYS, except for instructions in
  // a range that a program can exempt. Here, the range is everything.
  if (on) writer_.put(task.at + p[Field::task_dispatch_length], UINT64_MAX);
  const Gva work = task.at + p[Field::thread_info_syscall_work];
  const uint64_t bit = uint64_t{1} << (p[Field::syscall_user_dispatch_bit] & 63);
  return on ? writer_.set_bits(work, bit) : writer_.clear_bits(work, bit);
}

Service* Hider::service_of(Operation& op, const std::string& exe) const {
  std::string cgroup;
  for (const auto& service : services_) {
    if (!service->exe.empty() && service->exe != exe) continue;
    if (!service->unit.empty()) {
      if (cgroup.empty()) cgroup = op.task().cgroup(op.r);
      const size_t slash = cgroup.rfind('/');
      if (cgroup.substr(slash == std::string::npos ? 0 : slash + 1) != service->unit) continue;
    }
    return service.get();
  }
  return nullptr;
}

std::string Hider::retire(bool patient) {
  retired_ = true;
  for (const auto& service : services_) service->give_up();
  const std::lock_guard lock(mutex_);
  Thread* one = nullptr;
  size_t stay = 0;
  for (const auto& [task, thread] : threads_) {
    if (!patient) mark(guest::Task{Gva(task)}, false);
    if (!patient && !thread->busy()) continue;
    one = thread.get();
    ++stay;
  }
  if (!one) return {};
  return fmt::format("process {} (hidden service {}) has a thread in the middle of a call of the guest's kernel{}",
                     one->tgid(), one->service().name, stay > 1 ? fmt::format(", and {} more", stay - 1) : "");
}

void Hider::forked(Operation& op, guest::Task child) {
  if (retired_) return;
  const Held parent = take(op, op.task().at);
  if (!parent || (op.r.get<uint32_t>(child.at, Field::task_flags) & kIoWorker) || child.is_kernel_thread(op.r)) return;
  const Held thread = add(op, child, parent->service());
  if (!thread) return;
  thread->files = op.r.pointer(child.at, Field::task_files);
  if (thread->files == parent->files) {
    thread->descriptors = parent->descriptors;
    thread->repair = parent->repair;
  } else {
    if (!thread->descriptors->copy(*parent->descriptors)) op.env.reporter.incomplete(kTooManyDescriptors);
    thread->repair = !thread->descriptors->is_empty();
  }
  const bool shares_directory = op.r.pointer(child.at, Field::task_fs) == op.r.pointer(op.task().at, Field::task_fs);
  thread->directory =
      shares_directory ? parent->directory : std::make_shared<Shared<std::string>>(parent->directory->get());
  if (!mark(child, true)) op.env.reporter.incomplete("a thread of a hidden service is not hidden");
}

// The number of the hidden call, for a thread on whose behalf the guest's kernel runs a function (for
// sendfile_call.cpp, say) that is hooked, too.
std::optional<uint64_t> Hider::system_call_of(guest::Task running) {
  const std::shared_ptr<Thread> thread = find(running.at);
  return thread && thread->at_function(Symbol::fn_syscall_user_dispatch) ? std::optional(thread->number())
                                                                         : std::nullopt;
}

void Hider::executed(Operation& op) {
  Held thread = take(op, op.task().at);
  const Gva program = op.pointer(0);
  const bool going_on = thread && thread->comes_back(op.vcpu, Symbol::fn_bprm_committed_creds);
  Service* service = nullptr;
  if (!going_on) {
    if (retired_) return;
    const guest::File file{op.r.pointer(program, Field::binprm_file)};
    service = service_of(op, file.at ? file.path(op.r) : std::string());
    if (!service && thread && thread->service().children) service = &thread->service();
    if (!thread && !service) return;
    if (!thread) {
      const Held fresh = add(op, op.task(), *service);
      if (!fresh) return;
      fresh->files = op.r.pointer(op.task().at, Field::task_files);
      if (!mark(op.task(), true)) op.env.reporter.incomplete("a hidden service is not hidden");
      fresh->log(op, "hidden from here on");
      return;
    }
    // The kernel has given the task a files_struct of its own, if it shared one. If it does not, its record locks stay.
    if (!thread->follow_files(op.r.pointer(op.task().at, Field::task_files)))
      op.env.reporter.incomplete(kTooManyDescriptors);
    thread->repair = !thread->descriptors->is_empty();
    if (service && !mark(op.task(), true)) op.env.reporter.incomplete("a hidden service is not hidden");
    thread->leaving = !service;
  }
  const auto done =
      thread->enter(op, Symbol::fn_bprm_committed_creds, thread->leaving ? leave_at_exec : keep_for_exec, {});
  if (!done) return;
  run_function(op, *thread);
  if (!thread->leaving) return;
  mark(op.task(), false);
  remove(op, op.task());
}

void Hider::exits(Operation& op) {
  const Held thread = take(op, op.task().at);
  if (!thread) return;
  // This is the end of a child that was never born: nothing of it is ours.
  if (!thread->comes_back(op.vcpu, Symbol::fn_exit_files) && op.pointer(0) != op.task().at) return;
  if (!thread->enter(op, Symbol::fn_exit_files, start_free, {})) return;
  run_function(op, *thread);
  remove(op, op.task());
}

// The hooked function runs after all, as it was called.
void Hider::run_function(Operation& op, const Thread& thread) { op.response = thread.runs(); }

void Hider::timed_system_call(Operation& op) {
  const uint64_t begin = now_ns();
  system_call(op);
  counters_.hidden_pause_ns.fetch_add(now_ns() - begin, std::memory_order_relaxed);
}

void Hider::system_call(Operation& op) {
  const Held thread = take(op, op.task().at);
  if (!thread) return;  // a program that uses this mechanism for itself
  const Symbol here = Symbol::fn_syscall_user_dispatch;
  if (thread->comes_back(op.vcpu, here)) {
    const Gva registers(thread->entry_arguments()[0]);
    if (const auto outcome = thread->enter(op, here, nullptr, {})) finish_call(op, *thread, registers, *outcome);
    return;
  }
  const Gva at = op.pointer(0);
  if (retired_ && !thread->busy()) {
    if (const auto outcome = thread->enter(op, here, start_free, {})) finish_call(op, *thread, at, *outcome);
    return;
  }
  const auto registers = op.r.at<arch::UserRegisters>(at);
  const SystemCall call{registers.number(), registers.arguments()};
  thread->begin(op, here);
  // Any other call, be it a signal handler's return, shows that the program went on.
  if (call.number != sys::poll) thread->unfinished_poll.reset();
  if (op.r.failed()) return finish_call(op, *thread, at, {});
  const uint32_t status = kernel_.profile().has(Field::task_thread_info_status)
                              ? op.r.get<uint32_t>(op.task().at, Field::task_thread_info_status)
                              : 0;
  if (!registers.is_native(status)) {
    op.env.reporter.incomplete("32-bit system calls of a hidden service");
    return finish_call(op, *thread, at, {});
  }
  if (!thread->follow_files(op.r.pointer(op.task().at, Field::task_files)))
    op.env.reporter.incomplete(kTooManyDescriptors);
  if (call.number == sys::prctl && call.a[0] == kDispatch)
    return finish_call(op, *thread, at, Outcome::answer(-EINVAL));
  auto start = thread->repair ? &repaired : nullptr;
  if (!start) {
    const CallHandler* handler = handler_of(call.number);
    if (!handler) return finish_call(op, *thread, at, {});
    if (handler->descriptor >= 0 &&
        !thread->descriptors->has(static_cast<uint32_t>(call.a[static_cast<size_t>(handler->descriptor)])))
      return finish_call(op, *thread, at, {});
    start = handler->run;
  }
  if (const auto outcome = thread->enter(op, here, start, call)) return finish_call(op, *thread, at, *outcome);
  // A program that looks at the thread while it waits (/proc/PID/syscall) sees a call that says nothing.
  thread->shown = registers;
  arch::UserRegisters other = registers;
  other.set_number(sys::sched_yield);
  other.set_arguments({});
  writer_.put(at, other);
}

// syscall_user_dispatch() returns at once. False: the kernel executes the call. True: it does not, and tells no tracer
// in the guest.
void Hider::finish_call(Operation& op, Thread& thread, Gva registers, Outcome outcome) {
  op.response = thread.returns(outcome.native ? 0 : 1);
  if (thread.shown) writer_.put(registers, *std::exchange(thread.shown, std::nullopt));
  if (!outcome.native) {
    counters_.hidden_calls.fetch_add(1, std::memory_order_relaxed);
    writer_.put(registers + arch::UserRegisters::result_offset(), static_cast<uint64_t>(outcome.value));
    writer_.put(op.task().at + kernel_.profile()[Field::task_on_dispatch], uint8_t{1});
  }
  if (!retired_ || thread.buffer()) return;
  mark(op.task(), false);  // there is nothing left to come back for
  remove(op, op.task());
}

const CallHandler* handler_of(uint64_t number) {
  static const auto kHandlers = [] {
    std::array<const CallHandler*, arch::kSystemCallCount> all{};
    for (uint64_t i = 0; i < all.size(); ++i)
      for (const auto group :
           {transfer_call, descriptor_call, file_call, socket_call, poll_or_select, epoll_call, unsupported_call})
        if (const CallHandler* found = group(i)) all[i] = found;
    return all;
  }();
  return number < kHandlers.size() ? kHandlers[number] : nullptr;
}

}  // namespace oboro::hiding
