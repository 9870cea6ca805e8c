// poll, select and epoll with descriptors of both worlds. The proxy is asked once, and answers when one of its sockets
// is ready; the guest's own are looked at without waiting, again and again in between (thread.h, pause).

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fmt/format.h>
#include <functional>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>

#include "hiding/calls.h"

namespace oboro::hiding {

using guest::Field;
using guest::Symbol;
using proxy::Frame;
using proxy::Op;

namespace {

constexpr size_t kMostPolled = 1024, kMostInstances = 4096;
constexpr int64_t kForEver = -1;
constexpr uint64_t kSecond = 1'000'000'000;

Outcome answer(int64_t value) { return Outcome::answer(value); }

uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * kSecond + static_cast<uint64_t>(t.tv_nsec);
}

// How many of the guest's own are ready now, or -errno.
using Native = std::function<Routine<int64_t>()>;

struct Waited {
  int64_t native = 0;  // as of Native
  bool interrupted = false;
};

// Until one of `ours` (by handle; revents are filled in) or of the guest's own is ready, or for so long.
Routine<Waited> wait_for_both(Thread& thread, std::vector<pollfd>& ours, int64_t timeout_ns, Native native) {
  ProxyClient& proxy = *thread.service().proxy;
  const uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : now_ns() + static_cast<uint64_t>(timeout_ns);
  Waited waited;
  std::optional<uint64_t> id;
  bool over = false;
  for (unsigned round = 0;; ++round) {
    if (!id && !ours.empty()) {
      Frame frame;
      frame.op = Op::poll;
      frame.first = std::as_bytes(std::span(ours));
      id = proxy.begin(frame);
    }
    std::optional<Answer> answer = id ? proxy.take(*id) : std::nullopt;
    if (answer) {
      const auto bytes = answer->frame.first;
      if (bytes.size() == ours.size() * sizeof(pollfd)) {
        std::vector<pollfd> got(ours.size());
        std::memcpy(got.data(), bytes.data(), bytes.size());
        for (size_t i = 0; i < ours.size(); ++i) ours[i].revents = got[i].revents;
      }
      id.reset();
    }
    if (over && !id) break;
    if (!over) {
      if (native && waited.native == 0) waited.native = co_await native();
      const bool dead = proxy.gone();
      if (dead)
        for (pollfd& one : ours) one.revents = POLLERR | POLLHUP;
      over = answer || dead || waited.native != 0 || now_ns() >= deadline;
      if (over && (!id || dead)) break;
      if (over) proxy.cancel(*id);  // a last look at its side
    }
    if (!co_await thread.pause(round, over ? Thread::Sleep::killable : Thread::Sleep::interruptible)) continue;
    if (over) break;  // killed
    waited.interrupted = true;
    over = true;
    if (!id) break;
    proxy.cancel(*id);
  }
  if (id) proxy.abandon(*id);
  co_return waited;
}

// --- a signal mask for the time of the wait

Routine<int64_t> set_mask(Thread& thread, uint64_t mask, uint64_t size) {
  if (!mask) co_return 0;
  co_return static_cast<int32_t>(co_await thread.call(Symbol::call_set_user_sigmask, mask, size));
}
// As it was. That function does nothing else when it is asked for no events.
Routine<int64_t> restore_mask(Thread& thread, uint64_t mask) {
  if (mask) (void)co_await thread.kernel_own(Symbol::call_sys_epoll_pwait, {});
  co_return 0;
}

// --- times

Routine<int64_t> copy_timeout(Thread& thread, uint64_t user, bool microseconds, int64_t& out) {
  out = kForEver;
  if (!user) co_return 0;
  std::array<int64_t, 2> time{};
  if (const int64_t wrong = co_await thread.copy_in(user, std::as_writable_bytes(std::span(time)))) co_return wrong;
  const int64_t unit = microseconds ? 1000 : 1;
  if (time[0] < 0 || time[1] < 0 || time[1] >= static_cast<int64_t>(kSecond) / unit) co_return -EINVAL;
  out = time[0] > INT32_MAX ? kForEver : time[0] * static_cast<int64_t>(kSecond) + time[1] * unit;
  co_return 0;
}

// --- poll, ppoll

Routine<Outcome> poll_both(Thread& thread, uint64_t user, uint64_t count, int64_t timeout, uint64_t mask,
                           uint64_t mask_size) {
  if (count > kMostPolled || thread.descriptors->is_empty()) co_return Outcome{};
  std::vector<pollfd> all(count);
  const auto bytes = std::as_writable_bytes(std::span(all));
  if (co_await thread.copy_in(user, bytes)) co_return Outcome{};  // the kernel says what is wrong
  std::vector<pollfd> ours;
  std::vector<size_t> places;
  bool any_native = false;
  std::vector<std::shared_ptr<OpenFile>> held;
  for (size_t i = 0; i < all.size(); ++i) {
    auto file = all[i].fd < 0 ? nullptr : thread.descriptors->find(static_cast<uint32_t>(all[i].fd));
    if (!file) {
      any_native |= all[i].fd >= 0;
      continue;
    }
    ours.push_back({static_cast<int>(file->handle), all[i].events, 0});
    places.push_back(i);
    held.push_back(std::move(file));
  }
  if (ours.empty()) co_return Outcome{};
  if (const int64_t wrong = co_await set_mask(thread, mask, mask_size)) co_return answer(wrong);

  // The kernel takes our numbers for ones that are not open, and says so at once; the others are as they are.
  int64_t native_ready = 0;
  Native native;
  if (any_native)
    native = [&]() -> Routine<int64_t> {
      const int64_t done = co_await thread.kernel_own(Symbol::call_sys_poll, {user, count, 0});
      if (done < 0) co_return done;
      std::vector<pollfd> now(all.size());
      if (const int64_t wrong = co_await thread.copy_in(user, std::as_writable_bytes(std::span(now)))) co_return wrong;
      native_ready = 0;
      for (size_t i = 0; i < now.size(); ++i) {
        all[i].revents = now[i].revents;
        native_ready += now[i].revents != 0;
      }
      for (const size_t place : places) native_ready -= now[place].revents != 0;
      co_return native_ready;
    };
  const Waited waited = co_await wait_for_both(thread, ours, timeout, native);
  int64_t ready = std::max<int64_t>(waited.native, 0);
  for (pollfd& one : all)
    if (!any_native) one.revents = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    all[places[i]].revents = ours[i].revents;
    ready += ours[i].revents != 0;
  }
  if (waited.native < 0 || (waited.interrupted && ready == 0)) {
    if (waited.native < 0) co_await restore_mask(thread, mask);
    co_return answer(waited.native < 0 ? waited.native : kRestartNoHand);
  }
  const int64_t wrong = co_await thread.copy_out(user, bytes);
  co_await restore_mask(thread, mask);
  co_return answer(wrong ? wrong : ready);
}

Routine<Outcome> poll_call(Thread& thread, SystemCall call) {
  const auto milliseconds = static_cast<int32_t>(call.a[2]);
  const int64_t timeout = milliseconds < 0 ? kForEver : int64_t{milliseconds} * 1'000'000;
  return poll_both(thread, call.a[0], static_cast<uint32_t>(call.a[1]), timeout, 0, 0);
}
Routine<Outcome> ppoll_call(Thread& thread, SystemCall call) {
  if (thread.descriptors->is_empty()) co_return Outcome{};
  int64_t timeout = kForEver;
  if (const int64_t wrong = co_await copy_timeout(thread, call.a[2], false, timeout)) co_return answer(wrong);
  co_return co_await poll_both(thread, call.a[0], static_cast<uint32_t>(call.a[1]), timeout, call.a[3], call.a[4]);
}

// --- select, pselect6

class Sets {
 public:
  explicit Sets(size_t count) : words((count + 63) / 64) {
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
  const size_t words;
  std::array<std::vector<uint64_t>, 3> sets;  // to read, to write, exceptional
};

constexpr short kSelectEvents[] = {POLLIN | POLLRDNORM | POLLRDBAND, POLLOUT | POLLWRNORM | POLLWRBAND, POLLPRI};
constexpr short kSelectReady[] = {POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR | POLLNVAL,
                                  POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR | POLLNVAL, POLLPRI | POLLNVAL};

// do_select() of the kernel (fs/select.c), with sets and an end time in the buffer.
Routine<int64_t> kernel_select(Thread& thread, size_t count, const Sets& asked, Sets& ready) {
  constexpr uint64_t kSets = 128;
  const uint64_t size = asked.words * 8;
  if (!co_await thread.need_buffer()) co_return -ENOMEM;
  const Gva buffer = thread.buffer();
  std::array<uint64_t, 8> head{};  // struct fd_set_bits: six pointers; struct timespec64: now
  for (size_t i = 0; i < 6; ++i) head[i] = buffer.value + kSets + i * size;
  thread.writer().write(buffer, std::as_bytes(std::span(head)));
  const std::vector<uint64_t> none(asked.words);
  for (size_t i = 0; i < 3; ++i) {
    thread.writer().write(Gva(head[i]), std::as_bytes(std::span(asked.sets[i])));
    thread.writer().write(Gva(head[3 + i]), std::as_bytes(std::span(none)));
  }
  const auto done =
      static_cast<int32_t>(co_await thread.call(Symbol::call_do_select, count, buffer.value, buffer.value + 48));
  if (done > 0)
    for (size_t i = 0; i < 3; ++i)
      thread.read_buffer(kSets + (3 + i) * size, std::as_writable_bytes(std::span(ready.sets[i])));
  co_return done;
}

Routine<Outcome> select_both(Thread& thread, SystemCall call, bool microseconds, uint64_t mask, uint64_t mask_size) {
  const auto count = static_cast<uint32_t>(call.a[0]);
  if (count == 0 || count > kMostPolled || thread.descriptors->is_empty()) co_return Outcome{};
  Sets asked(count);
  for (size_t i = 0; i < 3; ++i) {
    if (!call.a[1 + i]) continue;
    if (co_await thread.copy_in(call.a[1 + i], std::as_writable_bytes(std::span(asked.sets[i])))) co_return Outcome{};
  }
  std::vector<pollfd> ours;
  std::vector<uint32_t> numbers;
  std::vector<std::shared_ptr<OpenFile>> held;
  for (uint32_t number = 0; number < count; ++number) {
    short events = 0;
    for (size_t i = 0; i < 3; ++i)
      if (asked.get(i, number)) events = static_cast<short>(events | kSelectEvents[i]);
    if (!events) continue;
    auto file = thread.descriptors->find(number);
    if (!file) continue;
    for (size_t i = 0; i < 3; ++i) asked.clear(i, number);
    ours.push_back({static_cast<int>(file->handle), events, 0});
    numbers.push_back(number);
    held.push_back(std::move(file));
  }
  if (ours.empty()) co_return Outcome{};
  int64_t timeout = kForEver;
  if (const int64_t wrong = co_await copy_timeout(thread, call.a[4], microseconds, timeout)) co_return answer(wrong);
  if (const int64_t wrong = co_await set_mask(thread, mask, mask_size)) co_return answer(wrong);
  const uint64_t begin = now_ns();
  Sets ready(count);
  Native native;
  if (asked.any()) native = [&]() { return kernel_select(thread, count, asked, ready); };
  const Waited waited = co_await wait_for_both(thread, ours, timeout, native);
  int64_t total_ready = std::max<int64_t>(waited.native, 0);
  for (size_t i = 0; i < ours.size(); ++i) {
    short wanted = ours[i].events;
    for (size_t set = 0; set < 3; ++set) {
      if (!(wanted & kSelectEvents[set]) || !(ours[i].revents & kSelectReady[set])) continue;
      ready.put(set, numbers[i]);
      ++total_ready;
    }
  }
  if (waited.native < 0 || (waited.interrupted && total_ready == 0)) {
    if (waited.native < 0) co_await restore_mask(thread, mask);
    co_return answer(waited.native < 0 ? waited.native : kRestartNoHand);
  }
  int64_t wrong = 0;
  for (size_t i = 0; i < 3 && !wrong; ++i)
    if (call.a[1 + i]) wrong = co_await thread.copy_out(call.a[1 + i], std::as_bytes(std::span(ready.sets[i])));
  if (!wrong && call.a[4] && timeout >= 0) {
    const int64_t left = std::max<int64_t>(0, timeout - static_cast<int64_t>(now_ns() - begin));
    const std::array<int64_t, 2> rest{left / static_cast<int64_t>(kSecond),
                                      left % static_cast<int64_t>(kSecond) / (microseconds ? 1000 : 1)};
    wrong = co_await thread.copy_out(call.a[4], std::as_bytes(std::span(rest)));
  }
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

// --- epoll: the instance is the guest's; which of our descriptors it watches is kept here

Gva struct_file(Thread& thread, uint64_t number) {
  guest::Reader r(thread.kernel());
  const Gva table = r.pointer(thread.files, Field::files_struct_fdt);
  if (number >= r.get<uint32_t>(table, Field::fdtable_max_fds)) return {};
  return Gva(r.at<uint64_t>(r.pointer(table, Field::fdtable_fd) + number * 8));
}

// The kernel makes it; what was known of another one at its address is over.
Routine<Outcome> epoll_create_call(Thread& thread, SystemCall call) {
  const bool first = call.number == SYS_epoll_create;
  if (first && static_cast<int32_t>(call.a[0]) <= 0) co_return answer(-EINVAL);
  const int64_t number = co_await thread.kernel_own(Symbol::call_sys_epoll_create1, {first ? 0 : call.a[0]});
  if (number >= 0) {
    const std::lock_guard lock(thread.service().epolls_mutex);
    thread.service().epolls.erase(struct_file(thread, static_cast<uint64_t>(number)).value);
  }
  co_return answer(number);
}

Routine<Outcome> epoll_ctl_call(Thread& thread, SystemCall call) {
  const auto number = static_cast<uint32_t>(call.a[2]);
  const auto file = thread.descriptors->find(number);
  if (!file) co_return Outcome{};
  if (!file->is_socket) co_return answer(-EPERM);  // as for regular files
  const Gva instance = struct_file(thread, static_cast<uint32_t>(call.a[0]));
  if (!instance) co_return answer(-EBADF);
  epoll_event event{};
  if (call.a[1] != EPOLL_CTL_DEL)
    if (const int64_t wrong = co_await thread.copy_in(call.a[3], std::as_writable_bytes(std::span(&event, 1))))
      co_return answer(wrong);
  const std::lock_guard lock(thread.service().epolls_mutex);
  if (thread.service().epolls.size() >= kMostInstances) co_return answer(-ENOSPC);
  std::vector<Watched>& all = thread.service().epolls[instance.value];
  std::erase_if(all, [](const Watched& one) { return one.file.expired(); });
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Watched& one) { return one.number == number && one.file.lock() == file; });
  switch (call.a[1]) {
    case EPOLL_CTL_ADD:
      if (found != all.end()) co_return answer(-EEXIST);
      if (all.size() >= kMostPolled) co_return answer(-ENOSPC);
      all.push_back({number, file, event.events, event.data.u64});
      co_return answer(0);
    case EPOLL_CTL_MOD:
      if (found == all.end()) co_return answer(-ENOENT);
      *found = {number, file, event.events, event.data.u64};
      co_return answer(0);
    case EPOLL_CTL_DEL:
      if (found == all.end()) co_return answer(-ENOENT);
      all.erase(found);
      co_return answer(0);
    default:
      co_return answer(-EINVAL);
  }
}

// Those to look at now, as pollfds and as (number, file).
void watched_now(Thread& thread, Gva instance, std::vector<pollfd>& ours, std::vector<Watched>& which) {
  const std::lock_guard lock(thread.service().epolls_mutex);
  const auto found = thread.service().epolls.find(instance.value);
  if (found == thread.service().epolls.end()) return;
  for (const Watched& one : found->second) {
    const auto file = one.file.lock();
    if (!file || one.disarmed) continue;
    if ((one.events & EPOLLET) && one.reported_at == file->calls) continue;
    ours.push_back({static_cast<int>(file->handle), static_cast<short>(one.events & 0x3fff), 0});
    which.push_back(one);
  }
}

void was_reported(Thread& thread, Gva instance, const Watched& which) {
  const std::lock_guard lock(thread.service().epolls_mutex);
  for (Watched& one : thread.service().epolls[instance.value]) {
    const auto file = one.file.lock();
    if (one.number != which.number || !file || file != which.file.lock()) continue;
    one.reported_at = file->calls;
    if (one.events & EPOLLONESHOT) one.disarmed = true;
  }
}

bool watches_any(Thread& thread, Gva instance) {
  const std::lock_guard lock(thread.service().epolls_mutex);
  const auto found = thread.service().epolls.find(instance.value);
  return found != thread.service().epolls.end() && !found->second.empty();
}

Routine<Outcome> epoll_both(Thread& thread, SystemCall call, int64_t timeout, uint64_t mask, uint64_t mask_size) {
  const Gva instance = struct_file(thread, static_cast<uint32_t>(call.a[0]));
  if (!instance || !watches_any(thread, instance)) co_return Outcome{};
  const auto most = static_cast<int32_t>(call.a[2]);
  if (most <= 0 || static_cast<size_t>(most) > INT_MAX / sizeof(epoll_event)) co_return answer(-EINVAL);
  if (const int64_t wrong = co_await set_mask(thread, mask, mask_size)) co_return answer(wrong);
  std::vector<pollfd> ours;
  std::vector<Watched> which;
  watched_now(thread, instance, ours, which);
  const Native native = [&]() {
    return thread.kernel_own(Symbol::call_sys_epoll_wait, {call.a[0], call.a[1], call.a[2], 0});
  };
  const Waited waited = co_await wait_for_both(thread, ours, timeout, native);
  int64_t count = std::max<int64_t>(waited.native, 0);
  int64_t wrong = waited.native < 0 ? waited.native : 0;
  for (size_t i = 0; i < ours.size() && count < most && !wrong; ++i) {
    if (ours[i].revents == 0) continue;
    epoll_event event{};
    event.events = static_cast<uint16_t>(ours[i].revents);
    event.data.u64 = which[i].data;
    wrong = co_await thread.copy_out(call.a[1] + static_cast<uint64_t>(count) * sizeof event,
                                     std::as_bytes(std::span(&event, 1)));
    if (wrong) break;
    was_reported(thread, instance, which[i]);
    ++count;
  }
  if (!wrong && count == 0 && waited.interrupted) co_return answer(-EINTR);
  co_await restore_mask(thread, mask);
  co_return answer(wrong ? wrong : count);
}

Routine<Outcome> epoll_wait_call(Thread& thread, SystemCall call) {
  const auto milliseconds = static_cast<int32_t>(call.a[3]);
  const bool masked = call.number == SYS_epoll_pwait;
  return epoll_both(thread, call, milliseconds < 0 ? kForEver : int64_t{milliseconds} * 1'000'000,
                    masked ? call.a[4] : 0, call.a[5]);
}
Routine<Outcome> epoll_pwait2_call(Thread& thread, SystemCall call) {
  int64_t timeout = kForEver;
  if (const int64_t wrong = co_await copy_timeout(thread, call.a[3], false, timeout)) co_return answer(wrong);
  co_return co_await epoll_both(thread, call, timeout, call.a[4], call.a[5]);
}

}  // namespace

const CallHandler* wait_call(uint64_t number) {
  static constexpr struct {
    uint64_t number;
    CallHandler handler;
  } kCalls[] = {
      {SYS_poll, {poll_call}},
      {SYS_ppoll, {ppoll_call}},
      {SYS_select, {select_call}},
      {SYS_pselect6, {pselect_call}},
      {SYS_epoll_create, {epoll_create_call}},
      {SYS_epoll_create1, {epoll_create_call}},
      {SYS_epoll_ctl, {epoll_ctl_call}},
      {SYS_epoll_wait, {epoll_wait_call}},
      {SYS_epoll_pwait, {epoll_wait_call}},
      {441 /* epoll_pwait2, Linux 5.11 */, {epoll_pwait2_call}},
  };
  for (const auto& [known, handler] : kCalls)
    if (known == number) return &handler;
  return nullptr;
}

}  // namespace oboro::hiding
