#include "proxy/server.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <latch>
#include <map>
#include <mutex>
#include <optional>
#include <poll.h>
#include <set>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/io_error.h"
#include "proxy/epolls.h"

namespace oboro::proxy {
namespace {

using Clock = std::chrono::steady_clock;

// A call with bytes of its own: the memory that it was taken from is needed again.
struct Call {
  explicit Call(const Frame& from) : bytes(from.first.size() + from.second.size()), frame(from) {
    std::copy(from.first.begin(), from.first.end(), bytes.begin());
    std::copy(from.second.begin(), from.second.end(), bytes.begin() + static_cast<ptrdiff_t>(from.first.size()));
    frame.first = std::span(bytes).first(from.first.size());
    frame.second = std::span(bytes).subspan(from.first.size());
  }
  Call(Call&&) = default;  // moving a vector leaves its bytes where they are
  Call& operator=(Call&&) = default;

  std::vector<std::byte> bytes;
  Frame frame;
};

struct Answer {
  uint64_t id = 0;
  Done outcome;
  size_t size() const { return sizeof *this + outcome.first.size() + outcome.second.size(); }
};

// The bytes that a call may make the proxy hold: its own, or those that it asks for.
size_t cost_of(const Frame& call) {
  const size_t bytes = sizeof(Call) + call.first.size() + call.second.size();
  const bool gathers = call.op == Op::receive && call.arguments[1] & MSG_WAITALL;
  if (call.op != Op::read && call.op != Op::getdents && !gathers) return bytes;
  return bytes + static_cast<size_t>(std::clamp<int64_t>(call.arguments[0], 0, kMaxData));
}

// Threads that execute file calls.
class Workers {
 public:
  Workers(Files& files, unsigned count, int done_fd) : files_(files), done_fd_(done_fd), running_(count) {
    for (unsigned i = 0; i < count; ++i)
      threads_.emplace_back([this] {
        running_.count_down();
        work();
      });
    running_.wait();
  }
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void add(Call call) {
    {
      const std::lock_guard lock(mutex_);
      calls_.push_back(std::move(call));
    }
    wake_.notify_one();
  }
  std::deque<Answer> take_done() {
    const std::lock_guard lock(mutex_);
    return std::exchange(done_, {});
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return over_ || !calls_.empty(); });
      if (over_) return;
      Call call = std::move(calls_.front());
      calls_.pop_front();
      lock.unlock();
      Answer answer{call.frame.id, files_.execute(call.frame)};
      lock.lock();
      done_.push_back(std::move(answer));
      const uint64_t one = 1;
      (void)!write(done_fd_, &one, sizeof one);
    }
  }

  Files& files_;
  const int done_fd_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Call> calls_;
  std::deque<Answer> done_;
  bool over_ = false;
  std::latch running_;  // past the calls that a new thread makes first
  std::vector<std::thread> threads_;
};

class Server {
 public:
  Server(Channel channel, UniqueFd root, NetworkPolicy policy, const ServerLimits& limits, UniqueFd life)
      : limits_(limits),
        channel_(std::move(channel)),
        life_(std::move(life)),
        handles_(limits.handles),
        files_(std::move(root), handles_, limits.disk),
        epolls_(handles_, policy.remote || !policy.listen.empty()),
        sockets_(std::move(policy), handles_) {}

  Result<void> run(const std::function<Result<void>()>& started) {
    epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
    done_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll_ || !done_) return io_error("proxy");
    for (const auto& [fd, what] :
         {std::pair(life_.get(), kLife), std::pair(channel_.wake_fd(), kChannel), std::pair(done_.get(), kDone)})
      if (!watch(fd, what, EPOLLIN)) return io_error("proxy");
    // Before the first call, and before the filter of system calls: a directory may have to be opened for it.
    if (auto counted = files_.count(); !counted) return counted;
    workers_.emplace(files_, limits_.workers, done_.get());
    if (started)
      if (Result<void> locked = started(); !locked) return locked;
    for (;;) {
      const bool more = take_calls();
      for (Answer& answer : workers_->take_done()) {
        queued_bytes_ -= queued_[answer.id];
        queued_.erase(answer.id);
        give(std::move(answer));
      }
      expire();
      for (const uint32_t handle : full() ? std::set<uint32_t>() : std::exchange(ready_, {})) socket_ready(handle);
      send_answers();
      if (channel_.broken()) return Error{Errc::invalid, "the calls of the service came garbled"};
      std::array<epoll_event, 64> events;
      const bool sleep = !more && (full() || (ready_.empty() && channel_.may_sleep())) &&
                         (answers_.empty() || channel_.may_wait_for_room());
      const int count = epoll_wait(epoll_.get(), events.data(), events.size(), sleep ? next_deadline_ms() : 0);
      if (count < 0 && errno != EINTR) return io_error("proxy");
      for (int i = 0; i < count; ++i) {
        const uint64_t what = events[static_cast<size_t>(i)].data.u64;
        if (what == kLife) return {};
        if (what == kChannel)
          channel_.woken();
        else if (what == kDone)
          drain(done_.get());
        else
          socket_ready(static_cast<uint32_t>(what));
      }
    }
  }

 private:
  // The subject of an event: one of these, or the number of a handle.
  static constexpr uint64_t kLife = uint64_t{1} << 32, kChannel = kLife + 1, kDone = kLife + 2;
  static constexpr int kCallsAtOnce = 64;  // before others get their turn

  struct Waiting {
    Call call;
    Progress progress;
    Clock::time_point deadline = Clock::time_point::max();
  };

  bool watch(int fd, uint64_t what, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = what;
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }
  static void drain(int fd) {
    uint64_t count;
    (void)!read(fd, &count, sizeof count);
  }

  // Whether files have to be done with some calls, or the tracer has to take some answers, first. The tracer's calls
  // wait in the ring until then.
  bool full() const { return queued_bytes_ + answer_bytes_ > limits_.bytes || queued_.size() >= limits_.waiting; }

  // True: there may be more.
  bool take_calls() {
    for (int i = 0; i < kCallsAtOnce; ++i) {
      if (full()) return false;
      const std::optional<Frame> call = channel_.receive(storage_);
      if (!call) return false;
      start(*call);
    }
    return true;
  }

  void start(const Frame& call) {
    if (call.op == Op::cancel) return cancel(call);
    // A close is never sent again: a handle that was not closed then would be lost.
    if ((waiting_.size() >= limits_.waiting && call.op != Op::close) || queued_.count(call.id) ||
        waiting_.count(call.id))
      return give({call.id, {-ENOBUFS, 0, {}, {}}});
    if (const auto handle = handles_.find(call.handle)) {
      const bool socket = handle->kind == Handle::Kind::socket, epoll = handle->kind == Handle::Kind::epoll;
      if (call.op == Op::close && (socket || epoll)) return close_watched(call);
      // As for a file, but with the means of a socket.
      if (socket && (call.op == Op::read || call.op == Op::write)) {
        const Frame message = as_message(call);
        // recv(2) of no bytes waits until there are some. read(2) does not.
        if (message.op == Op::receive && message.arguments[0] == 0) return give({call.id, {}});
        return start_on_socket(message);
      }
    }
    if (Epolls::is_epoll_call(call.op)) return finish(call, epolls_.execute(call));
    if (Sockets::is_socket_call(call.op)) return start_on_socket(call);
    if (!Files::is_file_call(call.op)) return give({call.id, {-ENOSYS, 0, {}, {}}});
    queued_bytes_ += cost_of(call);
    queued_.emplace(call.id, cost_of(call));
    workers_->add(Call(call));
  }

  // read(2) and write(2) on a socket are receive and send without an address or flags.
  static Frame as_message(Frame call) {
    const bool seeks = (call.op == Op::read ? call.arguments[1] : call.arguments[0]) != -1;
    call.op = seeks ? Op::lseek : call.op == Op::read ? Op::receive : Op::send;  // lseek: -ESPIPE
    call.arguments = call.op == Op::receive ? std::array<int64_t, 4>{call.arguments[0], 0} : std::array<int64_t, 4>{};
    call.second = {};
    return call;
  }

  void start_on_socket(const Frame& call) {
    if (call.op == Op::lseek) return give({call.id, {-ESPIPE, 0, {}, {}}});
    const size_t cost = cost_of(call);
    if (waiting_bytes_ + cost > limits_.bytes) return give({call.id, {-ENOBUFS, 0, {}, {}}});
    Progress progress;
    if (auto outcome = sockets_.attempt(call, progress)) return finish(call, std::move(*outcome));
    const int64_t timeout = sockets_.timeout_us(call);
    Waiting waiting{Call(call), std::move(progress)};
    if (timeout) {
      waiting.deadline = Clock::now() + std::chrono::microseconds(timeout);
      deadlines_.emplace(waiting.deadline, call.id);
    }
    for (const uint32_t handle : handles_of(call)) waiters_[handle].push_back(call.id);
    waiting_bytes_ += cost;
    waiting_.emplace(call.id, std::move(waiting));
  }

  static std::vector<uint32_t> handles_of(const Frame& call) {
    if (call.op != Op::poll) return {call.handle};
    std::vector<pollfd> asked(call.first.size() / sizeof(pollfd));
    std::memcpy(asked.data(), call.first.data(), asked.size() * sizeof(pollfd));
    std::set<uint32_t> handles;
    for (const pollfd& one : asked)
      if (one.fd >= 0) handles.insert(static_cast<uint32_t>(one.fd));
    return {handles.begin(), handles.end()};
  }

  // A handle that was made, and that can be waited for, is watched for every change from now on.
  void finish(const Frame& call, Done outcome) {
    const bool made = call.op == Op::socket || call.op == Op::accept || call.op == Op::epoll_create;
    if (made && outcome.result > 0) {
      const auto number = static_cast<uint32_t>(outcome.result);
      const auto handle = handles_.find(number);
      if (!handle || !watch(handle->fd.get(), number, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)) {
        handles_.take(number);
        outcome = {-ENOBUFS, 0, {}, {}};
      }
    }
    give({call.id, std::move(outcome)});
    if (call.op == Op::give_back) socket_ready(call.handle);  // other calls may wait for these very bytes
  }

  void close_watched(const Frame& call) {
    handles_.take(call.handle);
    // A call that still waits for the handle finds it gone.
    socket_ready(call.handle);
    give({call.id, {}});
  }

  void socket_ready(uint32_t handle) {
    const auto found = waiters_.find(handle);
    if (found == waiters_.end()) return;
    for (const uint64_t id : std::exchange(found->second, {})) {
      const auto waiting = waiting_.find(id);
      if (waiting == waiting_.end()) continue;  // another of its sockets has finished it
      if (full()) {
        ready_.insert(handle);
        waiters_[handle].push_back(id);
        continue;
      }
      auto outcome = sockets_.attempt(waiting->second.call.frame, waiting->second.progress);
      if (outcome)
        end_wait(waiting, std::move(*outcome));
      else
        waiters_[handle].push_back(id);
    }
    if (const auto now = waiters_.find(handle); now != waiters_.end() && now->second.empty()) waiters_.erase(now);
  }

  using WaitingCalls = std::unordered_map<uint64_t, Waiting>;
  void end_wait(WaitingCalls::iterator waiting, Done outcome) {
    const Waiting ended = std::move(waiting->second);
    waiting_.erase(waiting);
    waiting_bytes_ -= cost_of(ended.call.frame);
    if (ended.deadline != Clock::time_point::max()) deadlines_.erase({ended.deadline, ended.call.frame.id});
    finish(ended.call.frame, std::move(outcome));
    for (const uint32_t handle : handles_of(ended.call.frame))
      if (const auto list = waiters_.find(handle); list != waiters_.end())
        std::erase(list->second, ended.call.frame.id);
  }

  void cancel(const Frame& call) {
    const auto waiting = waiting_.find(static_cast<uint64_t>(call.arguments[0]));
    if (waiting != waiting_.end()) {
      Done outcome = Sockets::timed_out(waiting->second.call.frame, waiting->second.progress);
      if (outcome.result < 0) outcome.result = -EINTR;
      end_wait(waiting, std::move(outcome));
    }
    give({call.id, {}});
  }

  void expire() {
    while (!deadlines_.empty() && deadlines_.begin()->first <= Clock::now()) {
      const auto waiting = waiting_.find(deadlines_.begin()->second);
      if (waiting == waiting_.end()) {
        deadlines_.erase(deadlines_.begin());
        continue;
      }
      Done outcome = Sockets::timed_out(waiting->second.call.frame, waiting->second.progress);
      end_wait(waiting, std::move(outcome));
    }
  }
  int next_deadline_ms() const {
    if (deadlines_.empty()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadlines_.begin()->first - Clock::now()).count();
    return static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30));
  }

  void give(Answer answer) {
    answer_bytes_ += answer.size();
    answers_.push_back(std::move(answer));
  }
  void send_answers() {
    while (!answers_.empty()) {
      const Answer& answer = answers_.front();
      Frame frame;
      frame.id = answer.id;
      frame.arguments = {answer.outcome.result, answer.outcome.extra};
      frame.first = answer.outcome.first;
      frame.second = answer.outcome.second;
      if (!channel_.send(frame)) return;
      answer_bytes_ -= answer.size();
      answers_.pop_front();
    }
  }

  const ServerLimits limits_;
  Channel channel_;
  UniqueFd life_, epoll_, done_;
  Handles handles_;
  Files files_;
  Epolls epolls_;
  Sockets sockets_;
  std::vector<std::byte> storage_;
  std::unordered_map<uint64_t, size_t> queued_;                  // calls that the workers have: size by id
  WaitingCalls waiting_;                                         // calls that wait for the network, by id
  std::unordered_map<uint32_t, std::vector<uint64_t>> waiters_;  // by handle: the calls that are to be tried again
  std::set<std::pair<Clock::time_point, uint64_t>> deadlines_;
  std::deque<Answer> answers_;
  std::set<uint32_t> ready_;  // handles with calls that were not tried again, because answers had no room
  size_t answer_bytes_ = 0, queued_bytes_ = 0, waiting_bytes_ = 0;
  std::optional<Workers> workers_;  // last: they end first
};

}  // namespace

Result<void> serve(Channel channel, UniqueFd root, NetworkPolicy policy, ServerLimits limits, UniqueFd life,
                   const std::function<Result<void>()>& started) {
  return Server(std::move(channel), std::move(root), std::move(policy), limits, std::move(life)).run(started);
}

}  // namespace oboro::proxy
