// The tracer's end of a hidden service's proxy (src/proxy): any number of calls on their way, with answers in any
// order. No function waits but wait(): a caller without an answer asks again later.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "hiding/service/budget.h"
#include "proxy/channel.h"
#include "proxy/wire.h"
#include "steer/answerable.h"

namespace oboro::hiding {

// The answer to a call. The frame's parts are in `storage`.
struct Answer {
  std::vector<std::byte> storage;
  proxy::Frame frame;
  Budget::Share share;  // of storage
  int64_t result() const { return frame.result(); }
};

class ProxyClient {
 public:
  static constexpr size_t kMostCalls = 4096;  // on their way at the same time

  // alive: readable (its end) once the proxy is gone.
  ProxyClient(proxy::Channel channel, UniqueFd alive) : channel_(std::move(channel)), alive_(std::move(alive)) {}

  // Sends a call. Returns its id; nothing: there is no room now.
  std::optional<uint64_t> begin(proxy::Frame call);
  // The answer to the call, once it is there.
  std::optional<Answer> take(uint64_t id);
  // The call is to come to an end soon. It is answered still: with -EINTR, unless it was done already.
  void cancel(uint64_t id);
  // Nobody waits for the call any more. A file that it opened is closed again.
  void abandon(uint64_t id);
  void close(uint32_t handle);
  // All waiting calls are to come to an end. The proxy answers still, and a call that is nearly over may make use of
  // that.
  void give_up() { given_up_.store(true, std::memory_order_relaxed); }
  bool given_up() const { return given_up_.load(std::memory_order_relaxed); }
  // Whether the proxy is gone. Once true, always true. Nothing is answered any more then.
  bool dead();
  bool gone() { return given_up() || dead(); }
  // The proxy gave answers that nobody had asked for. No proxy of ours does, so it counts as gone.
  bool lied() const { return lied_.load(std::memory_order_relaxed); }
  // A budget for calls, another for answers: calls on their way wait for answers, so they must not keep answers from
  // being taken out.
  Budget& answers() { return answers_; }
  Budget& outgoing() { return outgoing_; }
  // Waits until the answer to that call may be there, the proxy is gone, or the time is over. The calling thread stands
  // still.
  void wait(uint64_t id, uint64_t timeout_ns);
  size_t calls() {
    const std::lock_guard lock(mutex_);
    return calls_.size();
  }

 private:
  struct Call {
    bool abandoned = false, opens = false;
    std::optional<Answer> answer;
  };
  void collect();
  void send_late();

  Budget answers_, outgoing_;
  std::atomic<bool> lied_{false}, given_up_{false};
  std::mutex mutex_;
  proxy::Channel channel_;
  UniqueFd alive_;
  bool dead_ = false;
  unsigned sleepers_ = 0;  // in wait()
  uint64_t last_id_ = 0;
  std::unordered_map<uint64_t, Call> calls_;
  std::vector<proxy::Frame> late_;  // cancel and close for which there was no room
};

// A call on its way. It is abandoned if nobody waits for it any more. (A routine may end at any of its waits.)
class OnItsWay final : public steer::Answerable {
 public:
  OnItsWay(ProxyClient& proxy, uint64_t id) : proxy_(proxy), id_(id) {}
  OnItsWay(const OnItsWay&) = delete;
  OnItsWay& operator=(const OnItsWay&) = delete;
  ~OnItsWay() override {
    if (!answer_) proxy_.abandon(id_);
  }
  bool ready() override {
    if (!answer_) answer_ = proxy_.take(id_);
    return answer_.has_value();
  }
  bool gone(uint64_t waited_ns, unsigned pauses) override;
  void stand(uint64_t nanoseconds) override { proxy_.wait(id_, nanoseconds); }
  void cancel() override { proxy_.cancel(id_); }
  Answer take() { return std::move(*answer_); }  // once, when it is ready()

 private:
  ProxyClient& proxy_;
  const uint64_t id_;
  std::optional<Answer> answer_;
};

}  // namespace oboro::hiding
