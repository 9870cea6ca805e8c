#include "hiding/service/thread.h"

#include <cerrno>
#include <utility>

namespace oboro::hiding {

using guest::Field;
using guest::Symbol;

namespace {

Answer failure(int64_t error) {
  Answer answer;
  answer.frame.arguments[0] = error;
  return answer;
}

}  // namespace

void Thread::begin(hooks::Operation& op, guest::Symbol function) {
  SteeredTask::begin(op.vcpu, function);
  shown.reset();
}

std::optional<Outcome> Thread::enter(hooks::Operation& op, guest::Symbol function,
                                     Routine<Outcome> (*routine)(Thread&, SystemCall), const SystemCall& call) {
  const bool back = comes_back(op.vcpu, function);
  if (!back && !routine) return Outcome{};
  operation_ = &op;
  if (!back) {
    begin(op, function);
    number_ = call.number;
  }
  op.known_call = number_;
  const auto outcome = back ? go_on(op.vcpu, op.response) : start(op.vcpu, routine(*this, call), op.response);
  operation_ = nullptr;
  return outcome;
}

bool Thread::follow_files(Gva now) {
  const auto range = std::exchange(to_close, std::nullopt);
  if (now == files) return true;
  files = now;
  const auto own = std::make_shared<DescriptorTable>(service_->descriptor_count);
  const bool whole = own->copy(*std::exchange(descriptors, own));
  if (range)
    for (auto one = descriptors->next(range->first); one && one->number <= range->last;
         one = descriptors->next(uint64_t{one->number} + 1)) {
      if (range->mark_only)
        descriptors->set_close_on_exec(one->number, one->file, true);
      else
        (void)descriptors->take(one->number);
    }
  repair = !descriptors->is_empty();
  return whole;
}

// The answer to a call of a proxy that is there no more.
Answer Thread::proxy_is_gone(const ProxyClient& proxy) {
  if (proxy.lied())
    operation_->env.reporter.incomplete("the proxy of a hidden service gave answers that nobody had asked for");
  return failure(-EIO);
}

Routine<Answer> Thread::ask(ProxyCall frame, int64_t interrupted) {
  const std::shared_ptr<ProxyClient> held = frame.of ? frame.of : service_->proxy();
  ProxyClient& proxy = *held;
  std::optional<uint64_t> id;
  for (Waiting waiting; !(id = proxy.begin(frame));) {
    if (proxy.gone()) co_return proxy_is_gone(proxy);
    if (co_await pause(waiting, interrupted ? Sleep::interruptible : Sleep::killable))
      co_return failure(interrupted ? interrupted : -EINTR);
  }
  OnItsWay call(proxy, *id);
  // A call that waits for others, such as a receive, has no expected time. A send seldom waits. On sockets, a write is
  // a send.
  const bool sends = interrupted && (frame.op == proxy::Op::send || frame.op == proxy::Op::write);
  steer::WaitFor how{.interruptible = interrupted != 0};
  if (sends || !interrupted)
    how.expectation = &service_->expectations[static_cast<size_t>(sends ? proxy::Op::send : frame.op)];
  const steer::WaitEnd end = co_await wait_for(call, how);
  if (end == steer::WaitEnd::gone) co_return proxy_is_gone(proxy);
  if (end == steer::WaitEnd::killed) co_return failure(-EINTR);
  Answer answer = call.take();
  answer.from = held;
  if (end == steer::WaitEnd::cancelled && answer.result() == -EINTR) answer.frame.arguments[0] = interrupted;
  co_return std::move(answer);
}

Routine<int64_t> Thread::reserve(std::shared_ptr<OpenFile> file, bool close_on_exec) {
  const auto number =
      static_cast<int32_t>(co_await call(Symbol::call_get_unused_fd_flags, close_on_exec ? kCloseOnExec : 0));
  if (number < 0) co_return number;
  if (descriptors->set(static_cast<uint32_t>(number), {std::move(file), close_on_exec})) co_return number;
  co_await call(Symbol::call_put_unused_fd, static_cast<uint32_t>(number));
  co_return -EMFILE;
}

bool Thread::reserved(uint32_t number) const {
  guest::Reader r(kernel());
  const Gva table = r.pointer(r.pointer(task().at, Field::task_files), Field::files_struct_fdt);
  if (number >= r.get<uint32_t>(table, Field::fdtable_max_fds)) return false;
  const auto bits = r.at<uint64_t>(r.pointer(table, Field::fdtable_open_fds) + number / 64 * 8);
  const auto file = r.at<uint64_t>(r.pointer(table, Field::fdtable_fd) + uint64_t{number} * 8);
  return !r.failed() && (bits >> (number % 64) & 1) && file == 0;
}

}  // namespace oboro::hiding
