#include "hiding/service/proxy_client.h"

#include <poll.h>
#include <utility>

namespace oboro::hiding {

using proxy::Frame;
using proxy::Op;

namespace {

// After so long without an answer it is worth a system call to see whether the proxy is there.
constexpr uint64_t kSilenceNs = 2'000'000;
// How long, and how often, a call that goes on while services retire waits for its answer: a slow machine has time.
constexpr uint64_t kLastAnswerNs = 50'000'000;
constexpr unsigned kLastAnswerRounds = 60;

}  // namespace

bool OnItsWay::gone(uint64_t waited_ns, unsigned pauses) {
  if ((waited_ns > kSilenceNs || proxy_.lied()) && proxy_.dead()) return true;
  return pauses > kLastAnswerRounds && waited_ns > kLastAnswerNs && proxy_.given_up();
}

std::optional<uint64_t> ProxyClient::begin(Frame call) {
  const std::lock_guard lock(mutex_);
  send_late();
  if (calls_.size() >= kMostCalls || !late_.empty()) return std::nullopt;
  call.id = ++last_id_;
  if (!send(call)) {
    collect();  // if both directions were full, all would stand still
    if (!send(call)) return std::nullopt;
  }
  calls_[call.id].opens =
      call.op == Op::open || call.op == Op::socket || call.op == Op::accept || call.op == Op::epoll_create;
  return call.id;
}

std::optional<Answer> ProxyClient::take(uint64_t id) {
  const std::lock_guard lock(mutex_);
  auto found = calls_.find(id);
  if (found == calls_.end()) return std::nullopt;
  if (!found->second.answer) collect();
  if (!found->second.answer) return std::nullopt;
  Answer answer = std::move(*found->second.answer);
  calls_.erase(found);
  return answer;
}

void ProxyClient::cancel(uint64_t id) {
  const std::lock_guard lock(mutex_);
  Frame frame;
  frame.op = Op::cancel;
  frame.id = ++last_id_;
  frame.arguments[0] = static_cast<int64_t>(id);
  calls_[frame.id].abandoned = true;  // the answer to this frame itself is of no interest
  late_.push_back(frame);
  send_late();
}

void ProxyClient::abandon(uint64_t id) {
  cancel(id);
  const std::lock_guard lock(mutex_);
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  found->second.abandoned = true;
  if (!found->second.answer) return;
  const int64_t handle = found->second.answer->result();
  const bool opens = found->second.opens;
  calls_.erase(found);
  if (opens && handle > 0) send_close(static_cast<uint32_t>(handle));
}

void ProxyClient::close(uint32_t handle) {
  const std::lock_guard lock(mutex_);
  send_close(handle);
}

// The lock is held.
void ProxyClient::send_close(uint32_t handle) {
  if (!channel_) return;
  Frame frame;
  frame.op = Op::close;
  frame.id = ++last_id_;
  frame.handle = handle;
  calls_[frame.id].abandoned = true;
  late_.push_back(frame);
  send_late();
}

bool ProxyClient::dead() {
  const std::lock_guard lock(mutex_);
  if (dead_) return true;
  pollfd end{alive_.get(), POLLIN, 0};
  dead_ = channel_->broken() || poll(&end, 1, 0) > 0;
  return dead_;
}

void ProxyClient::replaced() {
  const std::lock_guard lock(mutex_);
  dead_ = replaced_ = true;
  late_.clear();
  if (sleepers_ == 0) channel_.reset();  // otherwise the last of them does
}

void ProxyClient::wait(uint64_t id, uint64_t timeout_ns) {
  int fd;
  {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(id);  // another thread may have taken the answer out of the ring
    if (found == calls_.end() || found->second.answer || replaced_ || !channel_->may_sleep()) return;
    fd = channel_->wake_fd();
    ++sleepers_;
  }
  pollfd waits[] = {{fd, POLLIN, 0}, {alive_.get(), POLLIN, 0}};
  constexpr uint64_t kSecond = 1'000'000'000;
  const timespec timeout{static_cast<time_t>(timeout_ns / kSecond), static_cast<long>(timeout_ns % kSecond)};
  (void)ppoll(waits, 2, &timeout, nullptr);
  const std::lock_guard lock(mutex_);
  if (--sleepers_ > 0) return;  // the others are to be woken, too
  channel_->woken();
  if (replaced_) channel_.reset();
}

// The lock is held. This comes to an end: each answer is taken by a call that had none.
void ProxyClient::collect() {
  while (channel_ && !lied_ &&
         !answers().full()) {  // an answer that is not taken out now waits in the ring, and so does the proxy
    Answer answer;
    answer.share = Budget::Share(answers());
    std::optional<Frame> frame = channel_->receive(answer.storage);
    if (!frame) return;
    answer.share.set(answer.storage.size());
    const auto found = frame->op == Op::answer ? calls_.find(frame->id) : calls_.end();
    if (found == calls_.end() || found->second.answer) {
      lied_ = dead_ = true;
      return;
    }
    if (!found->second.abandoned) {
      answer.frame = *frame;
      found->second.answer.emplace(std::move(answer));
      continue;
    }
    const bool opened = found->second.opens && frame->result() > 0;
    calls_.erase(found);
    if (!opened) continue;
    Frame close;
    close.op = Op::close;
    close.id = ++last_id_;
    close.handle = static_cast<uint32_t>(frame->result());
    calls_[close.id].abandoned = true;
    late_.push_back(close);
  }
}

// The lock is held.
void ProxyClient::send_late() {
  size_t sent = 0;
  while (sent < late_.size() && send(late_[sent])) ++sent;
  late_.erase(late_.begin(), late_.begin() + static_cast<ptrdiff_t>(sent));
}

}  // namespace oboro::hiding
