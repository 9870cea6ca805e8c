#include "supervisor/loop.h"

#include <array>
#include <cerrno>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <utility>

#include "base/io_error.h"

namespace oboro::supervisor {

struct Loop::Entry {
  int fd;
  UniqueFd owned;  // a timer, or signals
  std::function<void()> handler;
};

struct Loop::State {
  UniqueFd epoll;
  std::unordered_map<uint64_t, std::shared_ptr<Entry>> entries;
  uint64_t last_token = 0;
};

Loop::Watch::Watch(Watch&& other) noexcept : state_(std::move(other.state_)), token_(std::exchange(other.token_, 0)) {}

Loop::Watch& Loop::Watch::operator=(Watch&& other) noexcept {
  if (this == &other) return *this;
  drop();
  state_ = std::move(other.state_);
  token_ = std::exchange(other.token_, 0);
  return *this;
}

Loop::Watch::~Watch() { drop(); }

void Loop::Watch::drop() {
  const uint64_t token = std::exchange(token_, 0);
  const std::shared_ptr<State> state = std::exchange(state_, {}).lock();
  if (!token || !state) return;
  const auto entry = state->entries.find(token);
  if (entry == state->entries.end()) return;
  epoll_ctl(state->epoll.get(), EPOLL_CTL_DEL, entry->second->fd, nullptr);
  // At the end, because the handler may hold watches as well.
  const std::shared_ptr<Entry> gone = std::move(entry->second);
  state->entries.erase(entry);
}

Result<Loop> Loop::create() {
  auto state = std::make_shared<State>();
  state->epoll.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!state->epoll) return io_error("epoll");
  return Loop(std::move(state));
}

Result<Loop::Watch> Loop::add(int fd, UniqueFd owned, std::function<void()> handler) {
  const uint64_t token = ++state_->last_token;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = token;
  if (epoll_ctl(state_->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return io_error("epoll");
  state_->entries.emplace(token, std::make_shared<Entry>(Entry{fd, std::move(owned), std::move(handler)}));
  return Watch(state_, token);
}

Result<Loop::Watch> Loop::readable(int fd, std::function<void()> handler) {
  return add(fd, UniqueFd(), std::move(handler));
}

Result<Loop::Watch> Loop::after(std::chrono::milliseconds time, std::function<void()> handler) {
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return io_error("timer");
  itimerspec when{};
  when.it_value.tv_sec = time.count() / 1000;
  when.it_value.tv_nsec = time.count() % 1000 * 1000000;
  if (time.count() <= 0) when.it_value.tv_nsec = 1;  // all zero would be never
  if (timerfd_settime(timer.get(), 0, &when, nullptr) != 0) return io_error("timer");
  const int fd = timer.get();
  return add(fd, std::move(timer), [fd, handler = std::move(handler)] {
    uint64_t times;
    if (read(fd, &times, sizeof times) == sizeof times) handler();
  });
}

Result<Loop::Watch> Loop::signals(std::initializer_list<int> which, std::function<void(int)> handler) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : which) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return io_error("signalfd");
  const int fd = signals.get();
  return add(fd, std::move(signals), [fd, handler = std::move(handler)] {
    signalfd_siginfo info;
    if (read(fd, &info, sizeof info) == sizeof info) handler(static_cast<int>(info.ssi_signo));
  });
}

Result<size_t> Loop::turn(std::chrono::milliseconds most) {
  std::array<epoll_event, 32> events;
  const int count = epoll_wait(state_->epoll.get(), events.data(), events.size(), static_cast<int>(most.count()));
  if (count < 0 && errno == EINTR) return size_t{0};
  if (count < 0) return io_error("epoll");
  size_t done = 0;
  for (int i = 0; i < count; ++i) {
    const uint64_t number = events[static_cast<size_t>(i)].data.u64;  // a copy: the structure is packed
    const auto found = state_->entries.find(number);
    if (found == state_->entries.end()) continue;        // dropped in this turn
    const std::shared_ptr<Entry> entry = found->second;  // it may drop itself
    entry->handler();
    ++done;
  }
  return done;
}

Result<void> Loop::run() {
  while (!stopped_)
    if (const Result<size_t> turned = turn(std::chrono::milliseconds(-1)); !turned) return turned.error();
  return {};
}

}  // namespace oboro::supervisor
