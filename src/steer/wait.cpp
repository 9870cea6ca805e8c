// Lets time pass for a task, as the guest's own kernel has tasks wait: docs/decisions/011.

#include <algorithm>

#include "steer/steered_task.h"

namespace oboro::steer {

using guest::Field;
using guest::Symbol;

namespace {

constexpr uint64_t kRelative = 1;  // HRTIMER_MODE_REL
// Enough for a short call to a proxy on this machine. Each yield is a hook, and stops the vCPU for a microsecond.
constexpr unsigned kYields = 24;
// A task that is expected to wait longer than kBriefNs sleeps at once. A shorter wait is over before another task has
// got going: where others want the CPU, the task keeps it, and no longer than kMostStandNs.
constexpr uint64_t kBriefNs = 100'000, kMostStandNs = 150'000;
// A sleep is an eighth of the time waited by then: an answer is seen at most that much late.
constexpr uint64_t kSleepPart = 8;
constexpr uint64_t kCrowdedNs = 300'000;
constexpr uint64_t kCrowdedFor = 16;  // times as long as the yield that showed that others want the CPU
constexpr uint64_t kBlockNs = 50'000'000;
constexpr unsigned kBlockRounds = 100;

}  // namespace

Routine<bool> SteeredTask::sleep(uint64_t nanoseconds, Sleep sleep) {
  // A wake-up may be a late one, meant for an earlier wait of the thread (wake_q_add(), kernel/sched/core.c). A signal
  // is still there when the thread is to sleep again.
  for (int tries = 0; tries < 2; ++tries) {
    const Gva expires = scratch();
    writer_.put(expires, nanoseconds);
    writer_.put(task_.at + kernel_.profile()[Field::task_state], static_cast<uint32_t>(sleep));
    const uint64_t result = co_await call(Symbol::call_schedule_hrtimeout, expires.value, kRelative);
    if (static_cast<int32_t>(result) == 0) co_return false;
  }
  co_return true;
}

Routine<bool> SteeredTask::pause(Waiting& waiting, Sleep how, uint64_t deadline, const Sleeper* sleeper) {
  const unsigned round = waiting.pauses++;
  const uint64_t before = now_ns();
  if (round == 0) waiting.since = before;
  if (wait_ == Wait::block && waiting.asked && round % kBlockRounds != kBlockRounds - 1) {
    waiting.asked->stand(deadline > before ? std::min(kBlockNs, deadline - before) : 0);
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
    waiting.asked->stand(kMostStandNs - (before - waiting.since));
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

Routine<WaitEnd> SteeredTask::wait_for(Answerable& asked, WaitFor how) {
  Sleep sleep = how.interruptible ? Sleep::interruptible : Sleep::killable;
  Waiting waiting{.asked = &asked, .foreseeable = how.expectation != nullptr};
  waiting.expected = how.expectation ? how.expectation->ns() : 0;
  bool cancelled = false;
  uint64_t waited = 0;
  for (;;) {
    if (asked.ready()) {
      if (waiting.stood) waited = waiting.waited();
      // A call that may be interrupted and took so long has waited for somebody else, after all.
      if (waiting.foreseeable && waiting.pauses > 0 && !(how.interruptible && waited > Expectation::kMost)) {
        if (waiting.pauses == 1 && waiting.expected >= kBriefNs)
          how.expectation->was_there();
        else
          how.expectation->was_not_there(waited);
      }
      co_return cancelled ? WaitEnd::cancelled : WaitEnd::answered;
    }
    waited = waiting.waited();
    if (asked.gone(waited, waiting.pauses)) co_return WaitEnd::gone;
    if (how.deadline != UINT64_MAX && now_ns() >= how.deadline) co_return WaitEnd::late;
    if (!co_await pause(waiting, sleep, how.deadline)) continue;
    if (sleep == Sleep::killable) co_return WaitEnd::killed;
    asked.cancel();
    cancelled = true;
    sleep = Sleep::killable;
    waiting = {.asked = &asked};  // a wait of its own
  }
}

}  // namespace oboro::steer
