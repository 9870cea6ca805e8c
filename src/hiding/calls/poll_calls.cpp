// poll and select with descriptors of both worlds.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "hiding/calls/calls.h"
#include "hiding/wait/waiting.h"

namespace oboro::hiding {

using guest::Field;
using guest::Symbol;

namespace {

class Sets {
 public:
  explicit Sets(size_t count_) : count(count_), words((count + 63) / 64) {
    for (auto& set : sets) set.resize(words);
  }
  bool get(size_t set, size_t number) const { return sets[set][number / 64] >> (number % 64) & 1; }
  void put(size_t set, size_t number) { sets[set][number / 64] |= uint64_t{1} << (number % 64); }
  void clear(size_t set, size_t number) { sets[set][number / 64] &= ~(uint64_t{1} << (number % 64)); }
  bool any() const {
    return std::any_of(sets.begin(), sets.end(), [](const auto& set) {
      return std::any_of(set.begin(), set.end(), [](uint64_t word) { return word != 0; });
    });
  }
  const size_t count, words;
  std::array<std::vector<uint64_t>, 3> sets;  // to read, to write, exceptional
};

constexpr size_t kMostSelected = 8192;  // only numbers below this: their sets fit into the buffer
constexpr short kSelectEvents[] = {POLLIN | POLLRDNORM | POLLRDBAND, POLLOUT | POLLWRNORM | POLLWRBAND, POLLPRI};
constexpr short kSelectReady[] = {POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR | POLLNVAL,
                                  POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR | POLLNVAL, POLLPRI | POLLNVAL};

// fdtable.max_fds: there is no greater number. The kernel's own do_select() relies on that.
uint32_t numbers_in_table(Thread& thread) {
  guest::Reader r(thread.kernel());
  const auto most = r.get<uint32_t>(r.pointer(thread.files, Field::files_struct_fdt), Field::fdtable_max_fds);
  return r.failed() ? 0 : most;
}

// The kernel's do_select() (fs/select.c), with the sets and an end time in the buffer. It waits that long at most; 0:
// it only looks. A signal ends it, and its result does not say so.
Routine<int64_t> kernel_select(Thread& thread, const Sets& asked, Sets& ready, uint64_t nanoseconds) {
  constexpr uint64_t kSets = 128;
  const uint64_t size = asked.words * 8;
  if (!co_await thread.need_buffer()) co_return -ENOMEM;
  if (kSets + 6 * size > Thread::kBufferSize) co_return -EINVAL;
  std::array<uint64_t, 8> head{};  // struct fd_set_bits: six pointers; struct timespec64: the end
  if (nanoseconds) {
    if (!thread.kernel().profile().has(Symbol::call_ktime_get)) co_return -ENOSYS;
    const uint64_t end = co_await thread.call(Symbol::call_ktime_get) + nanoseconds;
    head[6] = end / kSecond;
    head[7] = end % kSecond;
  }
  const Gva buffer = thread.buffer();
  for (size_t i = 0; i < 6; ++i) head[i] = buffer.value + kSets + i * size;
  thread.writer().write(buffer, std::as_bytes(std::span(head)));
  const std::vector<uint64_t> none(asked.words);
  for (size_t i = 0; i < 3; ++i) {
    thread.writer().write(Gva(head[i]), std::as_bytes(std::span(asked.sets[i])));
    thread.writer().write(Gva(head[3 + i]), std::as_bytes(std::span(none)));
  }
  const auto done =
      static_cast<int32_t>(co_await thread.call(Symbol::call_do_select, asked.count, buffer.value, buffer.value + 48));
  if (done > 0)
    for (size_t i = 0; i < 3; ++i)
      thread.read_buffer(kSets + (3 + i) * size, std::as_writable_bytes(std::span(ready.sets[i])));
  co_return done;
}

// The guest's own descriptors among these for which select can wait.
Sets selectable(Thread& thread, const std::vector<pollfd>& all) {
  std::vector<pollfd> own;
  size_t count = 0;
  const size_t most = std::min<size_t>(kMostSelected, numbers_in_table(thread));
  for (const pollfd& one : all)
    if (one.fd >= 0 && static_cast<size_t>(one.fd) < most && !thread.descriptors->has(static_cast<uint32_t>(one.fd))) {
      own.push_back(one);
      count = std::max(count, static_cast<size_t>(one.fd) + 1);
    }
  Sets sets(count);
  for (const pollfd& one : own)
    for (size_t set = 0; set < 3; ++set)
      if (one.events & kSelectEvents[set]) sets.put(set, static_cast<size_t>(one.fd));
  return sets;
}

// A wait that was over without a sleep has not looked for signals. With the old mask back, a pending signal might wait
// for ever.
Routine<bool> signal_before_restoring(Thread& thread, uint64_t mask) {
  if (!mask) co_return false;
  co_return co_await thread.sleep(Thread::kShortestSleepNs, Thread::Sleep::interruptible);
}

// --- poll, ppoll

Routine<Outcome> poll_both(Thread& thread, uint64_t user, uint64_t count, int64_t timeout, uint64_t mask,
                           uint64_t mask_size) {
  if (thread.descriptors->is_empty()) co_return Outcome{};
  if (count > kMostSelected) {
    refuse(thread, "", "poll of so many descriptors", -EINVAL);
    co_return Outcome{};  // as if no descriptor were ours
  }
  std::vector<pollfd> all(count);
  const auto bytes = std::as_writable_bytes(std::span(all));
  if (co_await thread.copy_in(user, bytes)) co_return Outcome{};  // the kernel says what is wrong
  // also_native: an epoll instance of the guest's own, a part of which is in the proxy.
  struct Place {
    size_t index;
    bool also_native;
  };
  std::vector<HiddenPoll> ours;
  std::vector<Place> places;
  bool any_native = false;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].fd < 0) continue;
    auto file = thread.descriptors->find(static_cast<uint32_t>(all[i].fd));
    const bool native_too = !file;
    if (!file) file = epoll_in_proxy(thread, static_cast<uint32_t>(all[i].fd));
    any_native |= native_too;
    if (!file) continue;
    ours.push_back({std::move(file), all[i].events, 0});
    places.push_back({i, native_too});
  }
  if (ours.empty()) co_return Outcome{};
  if (ours.size() > kMostPolled) co_return answer(refuse(thread, "", "poll of so many descriptors", -EINVAL));
  if (const int64_t wrong = co_await set_mask(thread, mask, mask_size)) co_return answer(wrong);

  // The kernel takes our numbers for closed ones, and says so at once. It says of the others how they are.
  int64_t native_ready = 0;
  GuestsOwn native;
  if (any_native)
    native.look = [&]() -> Routine<int64_t> {
      const int64_t done = co_await thread.kernel_own(Symbol::call_sys_poll, {user, count, 0});
      // A signal is there. The next sleep will tell; what the kernel's poll does about a signal is of no use here.
      if (done == -EINTR || (done <= kRestartSys && done >= kRestartBlock)) co_return 0;
      if (done < 0) co_return done;
      std::vector<pollfd> now(all.size());
      if (const int64_t wrong = co_await thread.copy_in(user, std::as_writable_bytes(std::span(now)))) co_return wrong;
      native_ready = 0;
      for (size_t i = 0; i < now.size(); ++i) {
        all[i].revents = now[i].revents;
        native_ready += now[i].revents != 0;
      }
      for (const Place& place : places) native_ready -= !place.also_native && now[place.index].revents != 0;
      co_return native_ready;
    };
  // poll would not sleep, because for it our numbers are closed. select sleeps for the numbers that are in its sets.
  const Sets asked = selectable(thread, all);
  Sets found(asked.count);
  if (asked.any())
    native.sleep = [&](uint64_t nanoseconds) -> Routine<int64_t> {
      const int64_t done = co_await kernel_select(thread, asked, found, nanoseconds);
      co_return std::min<int64_t>(done, 0);
    };
  const Waited waited = co_await wait_for_both(thread, ours, timeout, native);
  int64_t ready = std::max<int64_t>(waited.native, 0);
  for (pollfd& one : all)
    if (!any_native) one.revents = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    pollfd& one = all[places[i].index];
    if (!places[i].also_native) one.revents = 0;
    ready += one.revents == 0 && ours[i].revents != 0;
    one.revents = static_cast<short>(one.revents | ours[i].revents);
  }
  if (waited.native < 0) {
    co_await restore_mask(thread, mask);
    co_return answer(waited.native);
  }
  if (ready == 0 && (waited.interrupted || co_await signal_before_restoring(thread, mask)))
    co_return answer(kRestartNoHand);
  const int64_t wrong = co_await thread.copy_out(user, bytes);
  co_await restore_mask(thread, mask);
  co_return answer(wrong ? wrong : ready);
}

Routine<Outcome> poll_call(Thread& thread, SystemCall call) {
  const auto milliseconds = static_cast<int32_t>(call.a[2]);
  const auto before = std::exchange(thread.unfinished_poll, std::nullopt);
  const auto count = static_cast<uint32_t>(call.a[1]);
  if (milliseconds <= 0) co_return co_await poll_both(thread, call.a[0], count, milliseconds < 0 ? kForEver : 0, 0, 0);
  const std::array arguments{call.a[0], call.a[1], call.a[2]};
  const uint64_t begin = now_ns();
  const uint64_t deadline = before && before->arguments == arguments
                                ? before->deadline
                                : begin + static_cast<uint64_t>(milliseconds) * 1'000'000;
  const auto left = static_cast<int64_t>(deadline > begin ? deadline - begin : 0);
  const Outcome outcome = co_await poll_both(thread, call.a[0], count, left, 0, 0);
  if (!outcome.native && outcome.value == kRestartNoHand) thread.unfinished_poll = {arguments, deadline};
  co_return outcome;
}
Routine<Outcome> ppoll_call(Thread& thread, SystemCall call) {
  if (thread.descriptors->is_empty()) co_return Outcome{};
  int64_t timeout = kForEver;
  if (const int64_t wrong = co_await copy_timeout(thread, call.a[2], false, timeout)) co_return answer(wrong);
  const uint64_t begin = now_ns();
  const auto count = static_cast<uint32_t>(call.a[1]);
  const Outcome outcome = co_await poll_both(thread, call.a[0], count, timeout, call.a[3], call.a[4]);
  if (!outcome.native) (void)co_await copy_time_left(thread, call.a[2], false, timeout, begin);
  co_return outcome;
}

// --- select, pselect6

Routine<Outcome> select_both(Thread& thread, SystemCall call, bool microseconds, uint64_t mask, uint64_t mask_size) {
  if (static_cast<int32_t>(call.a[0]) <= 0 || thread.descriptors->is_empty()) co_return Outcome{};
  // As core_sys_select(): a program may name more numbers than it has descriptors, and its sets count only as far.
  const uint32_t count = std::min(static_cast<uint32_t>(call.a[0]), numbers_in_table(thread));
  if (count == 0) co_return Outcome{};
  if (count > kMostSelected) {
    refuse(thread, "", "select of so many descriptors", -EINVAL);
    co_return Outcome{};  // as if no descriptor were ours
  }
  Sets asked(count);
  for (size_t i = 0; i < 3; ++i) {
    if (!call.a[1 + i]) continue;
    if (co_await thread.copy_in(call.a[1 + i], std::as_writable_bytes(std::span(asked.sets[i])))) co_return Outcome{};
  }
  std::vector<HiddenPoll> ours;
  std::vector<uint32_t> numbers;
  for (uint32_t number = 0; number < count; ++number) {
    short events = 0;
    for (size_t i = 0; i < 3; ++i)
      if (asked.get(i, number)) events = static_cast<short>(events | kSelectEvents[i]);
    if (!events) continue;
    auto file = thread.descriptors->find(number);
    if (file)
      for (size_t i = 0; i < 3; ++i) asked.clear(i, number);
    else
      file = epoll_in_proxy(thread, number);
    if (!file) continue;
    ours.push_back({std::move(file), events, 0});
    numbers.push_back(number);
  }
  if (ours.empty()) co_return Outcome{};
  if (ours.size() > kMostPolled) co_return answer(refuse(thread, "", "select of so many descriptors", -EINVAL));
  int64_t timeout = kForEver;
  if (const int64_t wrong = co_await copy_timeout(thread, call.a[4], microseconds, timeout)) co_return answer(wrong);
  if (const int64_t wrong = co_await set_mask(thread, mask, mask_size)) co_return answer(wrong);
  const uint64_t begin = now_ns();
  Sets ready(count);
  GuestsOwn native;
  if (asked.any()) {
    native.look = [&] { return kernel_select(thread, asked, ready, 0); };
    native.sleep = [&](uint64_t nanoseconds) { return kernel_select(thread, asked, ready, nanoseconds); };
  }
  const Waited waited = co_await wait_for_both(thread, ours, timeout, native);
  int64_t total_ready = std::max<int64_t>(waited.native, 0);
  for (size_t i = 0; i < ours.size(); ++i) {
    short wanted = ours[i].events;
    for (size_t set = 0; set < 3; ++set) {
      if (!(wanted & kSelectEvents[set]) || !(ours[i].revents & kSelectReady[set]) || ready.get(set, numbers[i]))
        continue;
      ready.put(set, numbers[i]);
      ++total_ready;
    }
  }
  if (waited.native < 0) {
    co_await restore_mask(thread, mask);
    co_return answer(waited.native);
  }
  if (total_ready == 0 && (waited.interrupted || co_await signal_before_restoring(thread, mask)))
    co_return answer(kRestartNoHand);
  int64_t wrong = 0;
  for (size_t i = 0; i < 3 && !wrong; ++i)
    if (call.a[1 + i]) wrong = co_await thread.copy_out(call.a[1 + i], std::as_bytes(std::span(ready.sets[i])));
  if (!wrong) wrong = co_await copy_time_left(thread, call.a[4], microseconds, timeout, begin);
  co_await restore_mask(thread, mask);
  co_return answer(wrong ? wrong : total_ready);
}

Routine<Outcome> select_call(Thread& thread, SystemCall call) { return select_both(thread, call, true, 0, 0); }
Routine<Outcome> pselect_call(Thread& thread, SystemCall call) {
  if (thread.descriptors->is_empty()) co_return Outcome{};
  std::array<uint64_t, 2> mask{};  // pointer and size
  if (call.a[5])
    if (const int64_t wrong = co_await thread.copy_in(call.a[5], std::as_writable_bytes(std::span(mask))))
      co_return answer(wrong);
  co_return co_await select_both(thread, call, false, mask[0], mask[1]);
}

}  // namespace

const CallHandler* poll_or_select(uint64_t number) {
  static constexpr struct {
    uint64_t number;
    CallHandler handler;
  } kCalls[] = {
      {sys::poll, {poll_call}},
      {sys::ppoll, {ppoll_call}},
      {sys::select, {select_call}},
      {sys::pselect6, {pselect_call}},
  };
  for (const auto& [known, handler] : kCalls)
    if (known == number) return &handler;
  return nullptr;
}

}  // namespace oboro::hiding
