#include "hiding/wait/waiting.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace oboro::hiding {

using guest::Symbol;
using proxy::Frame;
using proxy::Op;

namespace {

constexpr uint64_t kShortestInKernel = 1'000'000;  // ns: a shorter sleep is not worth the trouble

}  // namespace

Routine<Waited> wait_for_both(Thread& thread, std::vector<HiddenPoll>& ours, int64_t timeout_ns,
                              const GuestsOwn& native) {
  const std::shared_ptr<ProxyClient> held = thread.service().proxy();
  ProxyClient& proxy = *held;
  constexpr short kBroken = POLLERR | POLLHUP;
  std::vector<pollfd> asked;  // those of ours that are open in this proxy
  for (HiddenPoll& one : ours) {
    if (one.file->proxy == held)
      asked.push_back({static_cast<int>(one.file->handle), one.events, 0});
    else
      one.revents = kBroken;  // of an earlier one
  }
  const bool some_broken = asked.size() < ours.size();
  const auto tell = [&](std::span<const pollfd> all) {
    size_t next = 0;
    for (HiddenPoll& one : ours)
      if (one.file->proxy == held) one.revents = all[next++].revents;
  };
  const uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : now_ns() + static_cast<uint64_t>(timeout_ns);
  Waited waited;
  bool can_sleep = static_cast<bool>(native.sleep);
  const Thread::Sleeper sleeper = [&](uint64_t nanoseconds) -> Routine<bool> {
    if (can_sleep && nanoseconds >= kShortestInKernel) {
      const uint64_t before = now_ns();
      const int64_t got = co_await native.sleep(nanoseconds);
      can_sleep = got >= 0;
      waited.native = std::max<int64_t>(got, 0);
      if (waited.native || now_ns() - before > nanoseconds / 2) co_return false;
      // Something ended it early. A sleep will tell if that was a signal, and a sleep keeps this from spinning.
      nanoseconds = Thread::kShortestSleepNs;
    }
    co_return co_await thread.sleep(nanoseconds, Thread::Sleep::interruptible);
  };
  std::optional<OnItsWay> call;
  bool over = false;
  Thread::Waiting waiting;
  for (;;) {
    if (!call && !asked.empty()) {
      Frame frame;
      frame.op = Op::poll;
      frame.first = std::as_bytes(std::span(asked));
      if (const auto id = proxy.begin(frame)) call.emplace(proxy, *id);
      waiting.asked = call ? &*call : nullptr;
    }
    std::optional<Answer> answer;
    if (call && call->ready()) {
      answer = call->take();
      const auto bytes = answer->frame.first;
      if (bytes.size() == asked.size() * sizeof(pollfd)) {
        std::vector<pollfd> got(asked.size());
        std::memcpy(got.data(), bytes.data(), bytes.size());
        tell(got);
      }
      // The proxy has no room for one more wait. It is asked again after a pause.
      const bool refused = !over && answer->result() == -ENOBUFS && !proxy.gone();
      waiting.asked = nullptr;
      call.reset();
      if (refused) answer.reset();
    }
    if (over && (!call || proxy.gone())) break;
    if (!over) {
      if (native.look && waited.native == 0) waited.native = co_await native.look();
      const bool dead = proxy.gone();
      if (dead)
        for (HiddenPoll& one : ours) one.revents = kBroken;
      over = answer || dead || some_broken || waited.native != 0 || now_ns() >= deadline;
      if (over && (!call || dead)) break;
      if (over) {
        call->cancel();               // a last look at the proxy's side
        waiting = {.asked = &*call};  // this is a wait of its own
      }
    }
    const bool signal = over ? co_await thread.pause(waiting, Thread::Sleep::killable)
                             : co_await thread.pause(waiting, Thread::Sleep::interruptible, deadline, &sleeper);
    if (!signal) continue;
    if (over) break;  // killed
    waited.interrupted = true;
    over = true;
    if (!call) break;
    call->cancel();
    waiting = {.asked = &*call};
  }
  co_return waited;
}

Routine<int64_t> set_mask(Thread& thread, uint64_t mask, uint64_t size) {
  if (!mask) co_return 0;
  co_return static_cast<int32_t>(co_await thread.call(Symbol::call_set_user_sigmask, mask, size));
}
// The mask as it was. Asked for no events, the function does nothing but set the mask.
Routine<int64_t> restore_mask(Thread& thread, uint64_t mask) {
  if (mask) (void)co_await thread.kernel_own(Symbol::call_sys_epoll_pwait, {});
  co_return 0;
}

Routine<int64_t> copy_timeout(Thread& thread, uint64_t user, bool microseconds, int64_t& out) {
  out = kForEver;
  if (!user) co_return 0;
  std::array<int64_t, 2> time{};
  if (const int64_t wrong = co_await thread.copy_in(user, std::as_writable_bytes(std::span(time)))) co_return wrong;
  if (time[0] < 0 || time[1] < 0) co_return -EINVAL;
  // As select(2) has it, a struct timeval may have more than a second's microseconds.
  constexpr int64_t kMicroseconds = 1'000'000;
  if (microseconds && time[0] <= INT32_MAX) {
    time[0] += time[1] / kMicroseconds;
    time[1] = time[1] % kMicroseconds * 1000;
  }
  if (time[1] >= kSecond) co_return -EINVAL;
  out = time[0] > INT32_MAX ? kForEver : time[0] * kSecond + time[1];
  co_return 0;
}

Routine<int64_t> copy_time_left(Thread& thread, uint64_t user, bool microseconds, int64_t timeout, uint64_t begin_ns) {
  if (!user || timeout < 0) co_return 0;
  const int64_t left = std::max<int64_t>(0, timeout - static_cast<int64_t>(now_ns() - begin_ns));
  const std::array<int64_t, 2> rest{left / kSecond, left % kSecond / (microseconds ? 1000 : 1)};
  co_return co_await thread.copy_out(user, std::as_bytes(std::span(rest)));
}

}  // namespace oboro::hiding
