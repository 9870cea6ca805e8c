// The tracer's end of a hidden service's proxy (src/proxy): any number of calls on their way, with answers in any
// order. No function waits but wait(): a caller without an answer asks again later. One object is one process at the
// other end: a proxy that is started again is another object, and what an earlier one had open can never be taken for
// what this one has open under the same number.
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

class ProxyClient;

// A call, and the proxy in which its handles are open; null: it has none, and goes to the proxy that the service has
// now.
struct ProxyCall : proxy::Frame {
  std::shared_ptr<ProxyClient> of;
};

// The answer to a call. The frame's parts are in `storage`.
struct Answer {
  std::shared_ptr<ProxyClient> from;  // the proxy that gave it; null: none did
  std::vector<std::byte> storage;
  proxy::Frame frame;
  Budget::Share share;  // of storage
  int64_t result() const { return frame.result(); }
};

class ProxyClient {
 public:
  static constexpr size_t kMostCalls = 4096;  // on their way at the same time

  // alive: readable (its end) once the proxy is gone.
  // before: the service's proxy until now. Both count against the same budgets.
  ProxyClient(proxy::Channel channel, UniqueFd alive, const ProxyClient* before = nullptr)
      : budgets_(before ? before->budgets_ : std::make_shared<Budgets>()),
        channel_(std::move(channel)),
        alive_(std::move(alive)) {}

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
  // Another proxy takes its place. It counts as dead, and its channel is given back.
  void replaced();
  // The proxy gave answers that nobody had asked for. No proxy of ours does, so it counts as gone.
  bool lied() const { return lied_.load(std::memory_order_relaxed); }
  // A budget for calls, another for answers: calls on their way wait for answers, so they must not keep answers from
  // being taken out.
  Budget& answers() { return budgets_->answers; }
  Budget& outgoing() { return budgets_->outgoing; }
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
  struct Budgets {
    Budget answers, outgoing;
  };
  bool send(const proxy::Frame& frame) { return channel_ && channel_->send(frame); }
  void collect();
  void send_late();
  void send_close(uint32_t handle);

  const std::shared_ptr<Budgets> budgets_;  // the service's last proxy keeps them as long as there may be a share
  std::atomic<bool> lied_{false}, given_up_{false};
  std::mutex mutex_;
  std::optional<proxy::Channel> channel_;  // none: replaced
  UniqueFd alive_;
  bool dead_ = false, replaced_ = false;
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
