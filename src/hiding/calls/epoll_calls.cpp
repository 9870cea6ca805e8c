// epoll with descriptors of both worlds. The instance is the guest's, and watches the guest's descriptors. The proxy
// has an instance that watches the hidden sockets (service.h, EpollInstance). So the host's kernel takes care there of
// edges, of events that are reported only once, and of which waiting thread gets an event.

#include <algorithm>
#include <cerrno>
#include <climits>
#include <sys/epoll.h>
#include <utility>
#include <vector>

#include "hiding/calls/calls.h"
#include "hiding/wait/waiting.h"

namespace oboro::hiding {

using guest::Field;
using guest::Symbol;
using proxy::Op;

namespace {

constexpr int64_t kNativePart = 40;      // ms
constexpr int64_t kMostEvents = 1024;    // events
constexpr size_t kMostInstances = 1024;  // of one service; the proxy has a limit of its own

Gva struct_file(Thread& thread, uint64_t number) {
  guest::Reader r(thread.kernel());
  const Gva table = r.pointer(thread.files, Field::files_struct_fdt);
  if (number >= r.get<uint32_t>(table, Field::fdtable_max_fds)) return {};
  return Gva(r.at<uint64_t>(r.pointer(table, Field::fdtable_fd) + number * 8));
}

// unknown: the answer if the kernel does not tell where its eventpoll_fops are.
bool is_epoll(Thread& thread, Gva file, bool unknown) {
  if (!thread.kernel().profile().has(Symbol::eventpoll_fops)) return unknown;
  guest::Reader r(thread.kernel());
  return r.pointer(file, Field::file_op) == thread.kernel().symbol(Symbol::eventpoll_fops);
}
uint64_t eventpoll_of(Thread& thread, Gva file) {
  guest::Reader r(thread.kernel());
  return r.pointer(file, Field::file_private_data).value;
}

// Nobody tells when the guest's instance is closed. Its struct file shows it, when that belongs to another instance.
bool is_still(Thread& thread, Gva file, const EpollInstance& known) {
  return is_epoll(thread, file, true) && eventpoll_of(thread, file) == known.eventpoll;
}

// With service.epolls_mutex held.
std::shared_ptr<EpollInstance> find(Thread& thread, Gva file) {
  const auto found = thread.service().epolls.find(file.value);
  if (found == thread.service().epolls.end()) return nullptr;
  auto known = found->second.lock();
  return known && is_still(thread, file, *known) ? known : nullptr;
}

// Null also if what there is is that of an earlier proxy.
std::shared_ptr<OpenFile> in_proxy(Thread& thread, Gva file) {
  const auto now = thread.service().proxy();
  const std::lock_guard lock(thread.service().epolls_mutex);
  const auto known = find(thread, file);
  return known && known->in_proxy && known->in_proxy->proxy == now ? known->in_proxy : nullptr;
}

// Remembers the instance, with `there` in the proxy (which may still be null). If another thread was faster, `there`
// becomes what that thread has made. False: there are too many.
bool remember(Thread& thread, Gva file, std::shared_ptr<OpenFile>& there) {
  Service& service = thread.service();
  std::vector<std::shared_ptr<EpollInstance>> gone;  // closed after the lock is released
  std::shared_ptr<OpenFile> spare;                   // likewise
  const std::lock_guard lock(service.epolls_mutex);
  for (auto at = service.epolls.begin(); at != service.epolls.end();) {
    auto known = at->second.lock();
    const bool over = !known || !is_still(thread, Gva(at->first), *known);
    if (over && known) {
      thread.descriptors->let_go(known);
      gone.push_back(std::move(known));
    }
    at = over ? service.epolls.erase(at) : std::next(at);
  }
  auto known = find(thread, file);
  if (!known) {
    if (service.epolls.size() >= kMostInstances) return false;
    known = std::make_shared<EpollInstance>(eventpoll_of(thread, file));
    service.epolls[file.value] = known;
  }
  thread.descriptors->hold(known);
  if (known->in_proxy && (!there || known->in_proxy->proxy == there->proxy))
    spare = std::exchange(there, known->in_proxy);
  else
    spare = std::exchange(known->in_proxy, there);  // none, or that of an earlier proxy
  return true;
}

// As in_proxy(), but makes the proxy's instance if there is none. Null: `error` says why.
Routine<std::shared_ptr<OpenFile>> make_in_proxy(Thread& thread, Gva file, int64_t& error) {
  if (auto there = in_proxy(thread, file)) co_return there;
  ProxyCall frame;
  frame.op = Op::epoll_create;
  const Answer got = co_await thread.ask(frame);
  error = got.result();
  if (error < 0) co_return nullptr;
  std::shared_ptr<OpenFile> there = thread.open_file(got);
  if (remember(thread, file, there)) co_return there;
  error = -ENOSPC;
  co_return nullptr;
}

void note_watched(Thread& thread, Gva instance, uint64_t operation, EpollInstance::Watched one) {
  const std::lock_guard lock(thread.service().epolls_mutex);
  const auto known = find(thread, instance);
  if (!known) return;
  auto& all = known->watched;
  const auto file = one.file.lock();
  std::erase_if(all, [&](const EpollInstance::Watched& other) {
    const auto its = other.file.lock();
    return !its || its == file;  // for the proxy a socket is one, whatever its numbers
  });
  if (operation != EPOLL_CTL_DEL) all.push_back(std::move(one));
}

// Forgets an instance that was closed, and whose memory this instance has now.
void forget(Thread& thread, Gva file) {
  std::shared_ptr<EpollInstance> gone;  // closed when the lock is not held
  const std::lock_guard lock(thread.service().epolls_mutex);
  const auto found = thread.service().epolls.find(file.value);
  if (found == thread.service().epolls.end()) return;
  gone = found->second.lock();
  if (gone) thread.descriptors->let_go(gone);
  thread.service().epolls.erase(found);
}

// The kernel makes the instance. It is known from the beginning, so that processes can inherit it.
Routine<Outcome> epoll_create_call(Thread& thread, SystemCall call) {
  const bool first = call.number == sys::epoll_create;
  if (first && static_cast<int32_t>(call.a[0]) <= 0) co_return answer(-EINVAL);
  const int64_t number = co_await thread.kernel_own(Symbol::call_sys_epoll_create1, {first ? 0 : call.a[0]});
  if (number >= 0 && thread.service().network)
    if (const Gva file = struct_file(thread, static_cast<uint64_t>(number))) {
      forget(thread, file);
      std::shared_ptr<OpenFile> none;
      (void)remember(thread, file, none);
    }
  co_return answer(number);
}

ProxyCall control(const OpenFile& instance, uint64_t operation, const OpenFile& target, const epoll_event& event) {
  return frame_of(Op::epoll_ctl, instance,
                  {static_cast<int32_t>(operation), target.handle, event.events, static_cast<int64_t>(event.data.u64)});
}

// An instance watches another one. The proxy's instances do the same.
Routine<Outcome> epoll_ctl_nested(Thread& thread, SystemCall call, Gva outer, Gva inner, epoll_event event) {
  const int64_t done = co_await thread.kernel_own(Symbol::call_sys_epoll_ctl, call.a);
  if (done < 0) co_return answer(done);
  const bool adds = call.a[1] == EPOLL_CTL_ADD;
  int64_t error = 0;
  std::shared_ptr<OpenFile> of_outer = in_proxy(thread, outer), of_inner = in_proxy(thread, inner);
  if (adds) {
    of_outer = co_await make_in_proxy(thread, outer, error);
    of_inner = co_await make_in_proxy(thread, inner, error);
  }
  if (of_outer && of_inner && of_outer->proxy == of_inner->proxy) {
    const Answer got = co_await thread.ask(control(*of_outer, call.a[1], *of_inner, event));
    error = got.result();
  }
  if (adds && error < 0) refuse(thread, "", "epoll of epoll", error);
  co_return answer(0);
}

Routine<Outcome> epoll_ctl_call(Thread& thread, SystemCall call) {
  const auto number = static_cast<uint32_t>(call.a[2]);
  const auto target = thread.descriptors->find(number);
  const Gva instance = struct_file(thread, static_cast<uint32_t>(call.a[0]));
  const Gva inner = target ? Gva() : struct_file(thread, number);
  const bool nested = inner && instance && inner != instance && thread.service().network &&
                      is_epoll(thread, inner, false) && is_epoll(thread, instance, false);
  if (!target && !nested) co_return Outcome{};
  // In this order: fs/eventpoll.c, epoll_ctl() and do_epoll_ctl().
  epoll_event event{};
  if (call.a[1] != EPOLL_CTL_DEL)
    if (const int64_t wrong = co_await thread.copy_in(call.a[3], std::as_writable_bytes(std::span(&event, 1))))
      co_return answer(wrong);
  if (nested) co_return co_await epoll_ctl_nested(thread, call, instance, inner, event);
  const bool hidden = thread.descriptors->has(static_cast<uint32_t>(call.a[0]));
  if (!instance && !hidden) co_return answer(-EBADF);
  if (!target->is_socket) co_return answer(-EPERM);  // as for regular files
  if (hidden || !is_epoll(thread, instance, true)) co_return answer(-EINVAL);
  const bool removes = call.a[1] == EPOLL_CTL_DEL;
  // A program that removes a socket because of EPOLLHUP gets no further events of it.
  const auto of_the_dead = [&] {
    if (removes) note_watched(thread, instance, EPOLL_CTL_DEL, {number, target, 0, nullptr});
    return answer(removes ? 0 : -EIO);
  };
  if (target->proxy != thread.service().proxy()) co_return of_the_dead();
  int64_t error = removes || call.a[1] == EPOLL_CTL_MOD ? -ENOENT : -EINVAL;
  std::shared_ptr<OpenFile> there = in_proxy(thread, instance);
  if (call.a[1] == EPOLL_CTL_ADD) there = co_await make_in_proxy(thread, instance, error);
  if (!there) co_return answer(error);
  if (there->proxy != target->proxy) co_return of_the_dead();  // it has just been started again
  const Answer got = co_await thread.ask(control(*there, call.a[1], *target, event));
  if (removes && got.result() < 0 && target->proxy->gone()) co_return of_the_dead();
  if (got.result() == 0)
    note_watched(thread, instance, call.a[1], {number, target, event.data.u64, target->proxy.get()});
  co_return answer(got.result());
}

// Whether the events of the proxy are asked for first this time, because the guest's took all the room last time. next:
// the answer for the next time.
bool ours_first(Thread& thread, Gva instance, bool next) {
  const std::lock_guard lock(thread.service().epolls_mutex);
  const auto known = find(thread, instance);
  return known && std::exchange(known->ours_first, next);
}

// The sockets that were open in a proxy that is gone are broken: all of them, or those of an earlier one.
std::vector<epoll_event> broken_events(Thread& thread, Gva instance, bool all) {
  std::vector<epoll_event> events;
  const auto now = thread.service().proxy();
  const std::lock_guard lock(thread.service().epolls_mutex);
  const auto known = find(thread, instance);
  if (!known) return events;
  for (const EpollInstance::Watched& one : known->watched) {
    if (one.file.expired() || (!all && one.proxy == now.get())) continue;
    epoll_event event{};
    event.events = EPOLLERR | EPOLLHUP;
    event.data.u64 = one.data;
    events.push_back(event);
  }
  return events;
}

// Gives events to the service (struct epoll_event). Returns how many there was room for, or -errno.
Routine<int64_t> give_events(Thread& thread, std::span<const std::byte> events, uint64_t user, int64_t most) {
  const int64_t count = std::min(s(events.size() / sizeof(epoll_event)), most);
  if (count <= 0) co_return 0;
  const int64_t wrong = co_await thread.copy_out(user, events.first(static_cast<size_t>(count) * sizeof(epoll_event)));
  co_return wrong ? wrong : count;
}

// Takes the proxy's events, and gives them to the service. Returns how many, or -errno.
Routine<int64_t> take_events(Thread& thread, Gva instance, const OpenFile& there, uint64_t user, int64_t most) {
  const Answer got = co_await thread.ask(frame_of(Op::epoll_wait, there, {std::min(most, kMostEvents)}));
  if (got.result() >= 0) co_return co_await give_events(thread, got.frame.first, user, most);
  if (!there.proxy->gone()) co_return got.result();
  const std::vector<epoll_event> broken = broken_events(thread, instance, thread.service().proxy()->gone());
  co_return co_await give_events(thread, std::as_bytes(std::span(broken)), user, most);
}

Routine<Outcome> epoll_both(Thread& thread, SystemCall call, int64_t timeout, uint64_t mask, uint64_t mask_size) {
  if (thread.descriptors->has(static_cast<uint32_t>(call.a[0]))) co_return answer(-EINVAL);
  const Gva instance = struct_file(thread, static_cast<uint32_t>(call.a[0]));
  if (!instance) co_return Outcome{};
  std::shared_ptr<OpenFile> there = in_proxy(thread, instance);
  // Another thread may make the instance watch a hidden socket while this one waits.
  const bool may_come = thread.service().network && timeout != 0 && thread.descriptors.use_count() > 1;
  const bool was_there = there || !broken_events(thread, instance, false).empty();
  if (!was_there && !(may_come && is_epoll(thread, instance, false))) co_return Outcome{};
  const auto most = static_cast<int32_t>(call.a[2]);
  if (most <= 0 || static_cast<size_t>(most) > INT_MAX / sizeof(epoll_event)) co_return answer(-EINVAL);
  if (const int64_t wrong = co_await set_mask(thread, mask, mask_size)) co_return answer(wrong);
  const uint64_t begin = now_ns();
  const auto look = [&](int64_t milliseconds) {
    const auto limit = static_cast<uint64_t>(milliseconds);
    return thread.kernel_own(Symbol::call_sys_epoll_wait, {call.a[0], call.a[1], call.a[2], limit});
  };
  const GuestsOwn native{[&look] { return look(0); },
                         [&look](uint64_t nanoseconds) -> Routine<int64_t> {
                           const int64_t got = co_await look(static_cast<int64_t>(nanoseconds / 1'000'000));
                           co_return got == -EINTR ? 0 : got;
                         }};
  int64_t count = 0, wrong = 0;
  for (;;) {
    // If none that is broken is open any more, and no other can be, the call is the kernel's.
    const bool dead = thread.service().proxy()->gone();
    const std::vector<epoll_event> broken = broken_events(thread, instance, dead);
    if (dead || !broken.empty()) {
      count = co_await look(0);
      const auto behind = [&] { return call.a[1] + static_cast<uint64_t>(count) * sizeof(epoll_event); };
      if (count >= 0) {
        const int64_t more = co_await give_events(thread, std::as_bytes(std::span(broken)), behind(), most - count);
        if (more >= 0 || count == 0) count += more;
      }
      // Those that are not broken have their turn, too.
      if (const auto alive = dead ? nullptr : in_proxy(thread, instance); alive && count > 0 && count < most)
        count += std::max<int64_t>(0, co_await take_events(thread, instance, *alive, behind(), most - count));
      co_await restore_mask(thread, mask);
      if (count != 0) co_return answer(count);
      co_return Outcome{};
    }
    const auto waited_ns = static_cast<int64_t>(now_ns() - begin);
    const int64_t left = timeout < 0 ? kForEver : std::max<int64_t>(0, timeout - waited_ns);
    there = in_proxy(thread, instance);
    if (there && ours_first(thread, instance, false)) {
      count = co_await take_events(thread, instance, *there, call.a[1], most);
      wrong = std::min<int64_t>(count, 0);
      count = std::max<int64_t>(count, 0);
      if (count > 0 || wrong) break;
    }
    Waited waited;
    std::vector<HiddenPoll> ours;
    if (there) {
      ours.push_back({there, POLLIN, 0});
      waited = co_await wait_for_both(thread, ours, left, native);
    } else {
      // The kernel waits. Now and then this thread looks whether that is still right.
      const int64_t part = left < 0 ? kNativePart : std::min((left + 999'999) / 1'000'000, kNativePart);
      waited.native = co_await look(part);
      waited.interrupted = waited.native == -EINTR;
    }
    count = std::max<int64_t>(waited.native, 0);
    if (there && count == most) (void)ours_first(thread, instance, true);
    if (there && count < most && waited.native >= 0 && ours[0].revents) {
      const uint64_t user = call.a[1] + static_cast<uint64_t>(count) * sizeof(epoll_event);
      const int64_t more = co_await take_events(thread, instance, *there, user, most - count);
      count += std::max<int64_t>(more, 0);
      wrong = std::min<int64_t>(more, 0);
    }
    if (count > 0) break;
    if (waited.interrupted) co_return answer(-EINTR);  // the mask stays: the signal is to come through
    if (waited.native < 0) wrong = waited.native;
    if (wrong || left == 0) break;
  }
  co_await restore_mask(thread, mask);
  co_return answer(count ? count : wrong);
}

Routine<Outcome> epoll_wait_call(Thread& thread, SystemCall call) {
  const auto milliseconds = static_cast<int32_t>(call.a[3]);
  const bool masked = call.number == sys::epoll_pwait;
  return epoll_both(thread, call, milliseconds < 0 ? kForEver : int64_t{milliseconds} * 1'000'000,
                    masked ? call.a[4] : 0, call.a[5]);
}
Routine<Outcome> epoll_pwait2_call(Thread& thread, SystemCall call) {
  int64_t timeout = kForEver;
  if (const int64_t wrong = co_await copy_timeout(thread, call.a[3], false, timeout)) co_return answer(wrong);
  co_return co_await epoll_both(thread, call, timeout, call.a[4], call.a[5]);
}

}  // namespace

std::shared_ptr<OpenFile> epoll_in_proxy(Thread& thread, uint64_t number) {
  {
    const std::lock_guard lock(thread.service().epolls_mutex);
    if (thread.service().epolls.empty()) return nullptr;
  }
  const Gva file = struct_file(thread, number);
  if (!file) return nullptr;
  if (auto there = in_proxy(thread, file)) return there;
  if (broken_events(thread, file, false).empty()) return nullptr;
  const std::lock_guard lock(thread.service().epolls_mutex);
  const auto known = find(thread, file);
  return known ? known->in_proxy : nullptr;  // that of an earlier proxy: broken, as what it watches is
}

const CallHandler* epoll_call(uint64_t number) {
  static constexpr struct {
    uint64_t number;
    CallHandler handler;
  } kCalls[] = {
      {sys::epoll_create, {epoll_create_call}}, {sys::epoll_create1, {epoll_create_call}},
      {sys::epoll_ctl, {epoll_ctl_call}},       {sys::epoll_wait, {epoll_wait_call}},
      {sys::epoll_pwait, {epoll_wait_call}},    {sys::epoll_pwait2, {epoll_pwait2_call}},
  };
  for (const auto& [known, handler] : kCalls)
    if (known == number) return &handler;
  return nullptr;
}

}  // namespace oboro::hiding
