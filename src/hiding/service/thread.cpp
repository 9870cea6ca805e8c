#include "hiding/service/thread.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <time.h>
#include <utility>

namespace oboro::hiding {

using arch::Reg;
using guest::Field;
using guest::Symbol;

namespace {

constexpr uint64_t kGfpKernel = 0xcc0;  // GFP_KERNEL (include/linux/gfp_types.h), the same since 4.20
constexpr uint64_t kRelative = 1;       // HRTIMER_MODE_REL
// What a proxy on this machine needs for a short call. Each is a hook, and stops the vCPU for a microsecond.
constexpr unsigned kYields = 24;
// Who is expected to wait longer than that sleeps at once. A shorter wait is over before another task has got going:
// where others want the CPU, it is kept, and no longer than that.
constexpr uint64_t kBriefNs = 100'000, kMostStandNs = 150'000;
// A sleep is an eighth of what has been waited by then: that is how late an answer is seen at most.
constexpr uint64_t kSleepPart = 8;
constexpr uint64_t kCrowdedNs = 300'000;
constexpr uint64_t kCrowdedFor = 16;        // times as long as the yield was that told so
constexpr uint64_t kSilenceNs = 2'000'000;  // without an answer: is the proxy there? Asking is a system call
// A call that goes on when services retire waits for its answer so long, and so often: a slow machine has time.
constexpr uint64_t kLastAnswerNs = 50'000'000;
constexpr unsigned kLastAnswerRounds = 60;
constexpr uint64_t kBlockNs = 50'000'000;
constexpr unsigned kBlockRounds = 100;

Answer failure(int64_t error) {
  Answer answer;
  answer.frame.arguments[0] = error;
  return answer;
}

}  // namespace

uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec);
}

void Thread::begin(hooks::Operation& op, guest::Symbol function) {
  routine_ = {};
  busy_ = false;
  shown.reset();
  entry_stack_ = op.vcpu.reg(Reg::rsp);
  entry_function_ = kernel_.symbol(function).value;
  for (size_t i = 0; i < entry_arguments_.size(); ++i) entry_arguments_[i] = op.vcpu.reg(arch::kArguments[i]);
}

bool Thread::comes_back(hooks::Operation& op, guest::Symbol function) const {
  return at_function(function) && op.vcpu.reg(Reg::rsp) == entry_stack_ - kFrame + sizeof(uint64_t);
}

std::optional<Outcome> Thread::enter(hooks::Operation& op, guest::Symbol function,
                                     Routine<Outcome> (*start)(Thread&, SystemCall), const SystemCall& call) {
  operation_ = &op;
  pending_ = nullptr;
  if (comes_back(op, function)) {
    op.known_call = number_;
    returned_ = op.vcpu.reg(Reg::rax);
    std::exchange(resume_, {}).resume();
  } else if (start) {
    begin(op, function);
    number_ = call.number;
    op.known_call = number_;
    busy_ = true;
    routine_ = start(*this, call);
    routine_.start();
  }
  if (!routine_ || routine_.done()) {
    const Outcome outcome = routine_ ? routine_.take() : Outcome{};
    routine_ = {};
    busy_ = false;
    operation_ = nullptr;
    return outcome;
  }
  detour();
  operation_ = nullptr;
  return std::nullopt;
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

void Thread::detour() {
  const Gva stack(entry_stack_ - kFrame);
  writer_.put(stack, entry_function_);
  operation_->response = engine::Call{pending_->function, stack, pending_->arguments, pending_->argument_count};
}

Routine<bool> Thread::need_buffer() {
  if (!buffer_) {
    const Gva got(co_await call(Symbol::call_get_free_pages, kGfpKernel, kBufferOrder));
    if (got && kernel_.is_direct_map(got)) buffer_ = got;
  }
  co_return static_cast<bool>(buffer_);
}

Routine<Outcome> Thread::free_buffer() {
  if (buffer_) co_await call(Symbol::call_free_pages, std::exchange(buffer_, Gva()).value, kBufferOrder);
  co_return Outcome{};
}

Routine<int64_t> Thread::copy_some_in(uint64_t user, std::span<std::byte> out) {
  // Nearly always: the program has just written it. Each call into the guest's kernel is a hook more.
  if (user_memory().read(user, out)) co_return static_cast<int64_t>(out.size());
  if (!co_await need_buffer()) co_return -ENOMEM;
  size_t done = 0;
  while (done < out.size()) {
    const size_t part = std::min(out.size() - done, kBufferSize);
    const uint64_t left = co_await call(Symbol::call_copy_from_user, buffer_.value, user + done, part);
    const size_t copied = left <= part ? part - left : 0;
    if (!read_buffer(0, out.subspan(done, copied))) break;
    done += copied;
    if (left != 0) break;
  }
  co_return done || out.empty() ? static_cast<int64_t>(done) : -EFAULT;
}

Routine<int64_t> Thread::copy_some_out(uint64_t user, std::span<const std::byte> bytes) {
  if (!co_await need_buffer()) co_return -ENOMEM;
  size_t done = 0;
  while (done < bytes.size()) {
    const size_t part = std::min(bytes.size() - done, kBufferSize);
    if (!writer_.write(buffer_, bytes.subspan(done, part))) break;
    const uint64_t left = co_await call(Symbol::call_copy_to_user, user + done, buffer_.value, part);
    done += left <= part ? part - left : 0;
    if (left != 0) break;
  }
  co_return done || bytes.empty() ? static_cast<int64_t>(done) : -EFAULT;
}

Routine<int64_t> Thread::copy_in(uint64_t user, std::span<std::byte> out) {
  const int64_t done = co_await copy_some_in(user, out);
  co_return done < 0 ? done : static_cast<size_t>(done) == out.size() ? 0 : -EFAULT;
}

Routine<int64_t> Thread::copy_out(uint64_t user, std::span<const std::byte> bytes) {
  const int64_t done = co_await copy_some_out(user, bytes);
  co_return done < 0 ? done : static_cast<size_t>(done) == bytes.size() ? 0 : -EFAULT;
}

Routine<int64_t> Thread::copy_string(uint64_t user, std::string& out) {
  if (user_memory().read_string(user, PATH_MAX, out)) co_return 0;
  if (!co_await need_buffer()) co_return -ENOMEM;
  const auto size = static_cast<int64_t>(co_await call(Symbol::call_strncpy_from_user, buffer_.value, user, PATH_MAX));
  if (size < 0) co_return -EFAULT;
  if (size >= PATH_MAX) co_return -ENAMETOOLONG;
  out.resize(static_cast<size_t>(size));
  if (!read_buffer(0, std::as_writable_bytes(std::span(out)))) co_return -EFAULT;
  out.resize(strnlen(out.data(), out.size()));
  co_return 0;
}

Routine<int64_t> Thread::kernel_own(Symbol function, std::array<uint64_t, 6> a) {
  if (!co_await need_buffer()) co_return -ENOMEM;
  Registers registers{};
  registers.di = a[0];
  registers.si = a[1];
  registers.dx = a[2];
  registers.r10 = a[3];
  registers.r8 = a[4];
  registers.r9 = a[5];
  writer_.put(buffer_, registers);
  co_return static_cast<int64_t>(co_await call(function, buffer_.value));
}

Routine<bool> Thread::sleep(uint64_t nanoseconds, Sleep sleep) {
  // A wake-up may be a late one, meant for what the thread waited for before (wake_q_add(), kernel/sched/core.c). A
  // signal is there still when it is to sleep again.
  for (int tries = 0; tries < 2; ++tries) {
    const Gva expires = scratch();
    writer_.put(expires, nanoseconds);
    writer_.put(task_.at + kernel_.profile()[Field::task_state], static_cast<uint32_t>(sleep));
    const uint64_t result = co_await call(Symbol::call_schedule_hrtimeout, expires.value, kRelative);
    if (static_cast<int32_t>(result) == 0) co_return false;
  }
  co_return true;
}

Routine<bool> Thread::pause(Waiting& waiting, Sleep how, uint64_t deadline, const Sleeper* sleeper) {
  const unsigned round = waiting.pauses++;
  const uint64_t before = now_ns();
  if (round == 0) waiting.since = before;
  if (wait_ == Wait::block && waiting.call && round % kBlockRounds != kBlockRounds - 1) {
    service_->proxy->wait(waiting.call, kBlockNs);
    co_return false;
  }
  if (wait_ == Wait::yield && round % kBlockRounds != kBlockRounds - 1) {
    co_await call(Symbol::call_yield);
    co_return false;
  }
  // A yield is the shortest pause if nobody else wants the CPU, and a long one if somebody does.
  const bool crowded = before < crowded_until_, brief = waiting.expected < kBriefNs;
  waiting.stood = waiting.foreseeable && brief && crowded && before - waiting.since < kMostStandNs;
  if (waiting.stood) {
    service_->proxy->wait(waiting.call, kMostStandNs - (before - waiting.since));
    co_return false;
  }
  if (brief && !crowded && round < kYields) {
    co_await call(Symbol::call_yield);
    const uint64_t after = now_ns();
    if (after - before > kCrowdedNs) crowded_until_ = after + (after - before) * kCrowdedFor;
    co_return false;
  }
  const uint64_t left = deadline > before ? deadline - before : 0;
  const uint64_t wanted = round == 0 ? waiting.expected : (before - waiting.since) / kSleepPart;
  const uint64_t length = std::clamp(std::min(wanted, left), kShortestSleepNs, kLongestSleepNs);
  if (sleeper) co_return co_await (*sleeper)(length);
  co_return co_await sleep(length, how);
}

// What comes of a call when there is no proxy any more.
Answer Thread::proxy_is_gone() {
  if (service_->proxy->lied())
    operation_->env.reporter.incomplete("the proxy of a hidden service gave answers that nobody had asked for");
  return failure(-EIO);
}

Routine<Answer> Thread::ask(proxy::Frame frame, int64_t interrupted) {
  ProxyClient& proxy = *service_->proxy;
  Sleep how = interrupted ? Sleep::interruptible : Sleep::killable;
  bool cancelled = false;
  std::optional<uint64_t> id;
  for (Waiting waiting; !(id = proxy.begin(frame));) {
    if (proxy.gone()) co_return proxy_is_gone();
    if (co_await pause(waiting, how)) co_return failure(interrupted ? interrupted : -EINTR);
  }
  OnItsWay on_its_way(proxy, *id);
  // What waits for others, as receiving does, takes as long as it takes; sending does seldom. On sockets write is send.
  const bool sends = interrupted && (frame.op == proxy::Op::send || frame.op == proxy::Op::write);
  Expectation& expectation = service_->expectations[static_cast<size_t>(sends ? proxy::Op::send : frame.op)];
  Waiting waiting{.call = *id, .foreseeable = sends || !interrupted};
  waiting.expected = waiting.foreseeable ? expectation.ns() : 0;
  uint64_t waited = 0;
  for (;;) {
    if (std::optional<Answer> answer = proxy.take(*id)) {
      on_its_way.answered();
      if (waiting.stood) waited = waiting.waited();
      if (waiting.foreseeable && waiting.pauses > 0 && !(sends && waited > Expectation::kMost)) {
        if (waiting.pauses == 1 && waiting.expected >= kBriefNs)
          expectation.was_there();
        else
          expectation.was_not_there(waited);
      }
      if (cancelled && answer->result() == -EINTR) answer->frame.arguments[0] = interrupted;
      co_return std::move(*answer);
    }
    waited = waiting.waited();
    if ((waited > kSilenceNs || proxy.lied()) && proxy.dead()) co_return proxy_is_gone();
    if (waiting.pauses > kLastAnswerRounds && waited > kLastAnswerNs && proxy.given_up()) co_return proxy_is_gone();
    if (!co_await pause(waiting, how)) continue;
    if (how == Sleep::killable) co_return failure(-EINTR);
    proxy.cancel(*id);
    cancelled = true;
    how = Sleep::killable;
    waiting = {.call = *id};
  }
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
  guest::Reader r(kernel_);
  const Gva table = r.pointer(r.pointer(task_.at, Field::task_files), Field::files_struct_fdt);
  if (number >= r.get<uint32_t>(table, Field::fdtable_max_fds)) return false;
  const auto bits = r.at<uint64_t>(r.pointer(table, Field::fdtable_open_fds) + number / 64 * 8);
  const auto file = r.at<uint64_t>(r.pointer(table, Field::fdtable_fd) + uint64_t{number} * 8);
  return !r.failed() && (bits >> (number % 64) & 1) && file == 0;
}

}  // namespace oboro::hiding
