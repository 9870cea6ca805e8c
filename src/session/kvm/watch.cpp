// The session's own thread: what the supervisor says, that it is still there, and what the guest does to our hooks;
// and, when the guest is to be let go, that this comes to an end.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <poll.h>

#include "session/control.h"
#include "session/kvm/kvm_session.h"

namespace oboro::session {
namespace {

using engine::kvm::Machine;
using std::chrono::milliseconds;

constexpr milliseconds kCheck{1000};
// Between two tries to let the guest go: from the first on, twice as long each time, up to the last.
constexpr milliseconds kFirstPause{10}, kLastPause{1000};
constexpr milliseconds kPatience{500};  // with threads of hidden services that have something to give back
constexpr milliseconds kSayAfter{2000};

}  // namespace

// One that is asked for and not over yet.
struct KvmSession::LettingGo {
  const char* why = nullptr;  // null: nobody wants it
  std::chrono::steady_clock::time_point since;
  milliseconds pause = kFirstPause;
  std::string said;  // who keeps the hooks in place
};

void KvmSession::watch() {
  int commands = start_.commands;
  LettingGo going;
  for (;;) {
    pollfd wait{commands, POLLIN, 0};
    const int ready = poll(&wait, 1, static_cast<int>((going.why ? going.pause : kCheck).count()));
    if (ready < 0 && errno != EINTR) return;
    if (ready > 0) {
      const Result<Message> message = receive_message(commands, 0);
      if (!message) commands = -1;  // poll() passes it over
      if (!going.why) going.since = std::chrono::steady_clock::now();
      if (!message) going.why = "the supervisor is gone";
      if (message && message->type == 'D') going.why = "asked for";
    }
    check_guest();
    if (!going.why || !let_go(going)) continue;
    if (commands < 0) return;
    going = {};
  }
}

void KvmSession::check_guest() {
  const std::unique_lock lock(changing_, std::try_to_lock);
  if (!lock || phase_ != Phase::armed) return;
  if (sites_.overwritten()) tracer_->unseen("the guest patched a hooked function: calls of it may not be seen");
  if (mapping_ && !mapping_->intact())
    tracer_->unseen("the guest changed the page tables that lead to the tracer's stubs");
}

// One try. False: not yet. How long a thread of a hidden service stays in the guest's kernel is up to the guest; what
// hides it has ended with the first try, so there is no way back, and somebody has to know.
bool KvmSession::let_go(LettingGo& going) {
  const auto lasted = std::chrono::steady_clock::now() - going.since;
  std::string stays = detach(going.why, lasted < kPatience);
  if (stays.empty()) return true;
  going.pause = std::min(going.pause * 2, kLastPause);
  if (lasted < kSayAfter || stays == going.said) return false;
  tracer_->not_detached(stays);
  going.said = std::move(stays);
  return false;
}

// Empty: done. Otherwise who keeps the hooks in place, and nothing is changed but that services are not hidden any
// more.
std::string KvmSession::detach(const char* why, bool patient) {
  const std::lock_guard lock(changing_);
  if (phase_ == Phase::untraced) return {};
  const Machine::Reading reading(machine);
  const bool armed = phase_ == Phase::armed;
  // Without stopping anybody, as long as that is enough to know that it is not over...
  if (std::string stays = armed ? tracer_->retire(patient) : std::string(); !stays.empty()) return stays;
  // ... but a vCPU may have been past the look at whether services are hidden still, and has begun a call meanwhile, or
  // marked a thread. Now none is in a handler: what is seen stays so.
  const Machine::Stopped stopped(machine, nullptr);
  if (std::string stays = armed ? tracer_->retire(patient) : std::string(); !stays.empty()) return stays;
  take_hooks_out(Code::goes_on);
  phase_ = Phase::untraced;
  tracer_->detached(why);
  return {};
}

}  // namespace oboro::session
