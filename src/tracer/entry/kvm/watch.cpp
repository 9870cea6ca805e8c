// The session's own thread. It hears the supervisor, notices its end, and looks what the guest does to our hooks. When
// the guest is to be let go, it sees to that.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <poll.h>
#include <unistd.h>

#include "link/control.h"
#include "tracer/commands.h"
#include "tracer/entry/kvm/kvm_session.h"
#include "tracer/entry/kvm/last_words.h"

namespace oboro::tracer {
namespace {

using engine::kvm::Machine;
using std::chrono::milliseconds;

constexpr milliseconds kCheck{1000};
// Between two tries to let the guest go: after the first try the first pause, then twice as long each time, up to the
// last.
constexpr milliseconds kFirstPause{10}, kLastPause{1000};
constexpr milliseconds kPatience{500};  // with threads of hidden services that have memory to give back
constexpr milliseconds kSayAfter{2000};

}  // namespace

// A request to let the guest go that is not over yet.
struct KvmSession::LettingGo {
  const char* why = nullptr;  // null: there is no request
  std::chrono::steady_clock::time_point since;
  milliseconds pause = kFirstPause;
  std::string said;  // who keeps the hooks in place
};

bool KvmSession::supervisor_is_gone() const {
  pollfd waits[] = {{start_.commands, 0, 0}, {start_.control, 0, 0}};
  while (poll(waits, std::size(waits), 0) < 0)
    if (errno != EINTR) return true;
  return waits[0].revents || waits[1].revents;
}

link::Body KvmSession::answer_to(link::Message request) {
  if (const auto* detach = request.as<link::Detach>())
    tracer_->commanded({"detach", static_cast<uint32_t>(detach->uid), detach->user});
  else if (request.as<link::Pause>())
    machine.pause();
  else if (request.as<link::Resume>())
    machine.resume();
  else
    return answer(*tracer_, std::move(request));
  return link::Done{};
}

void KvmSession::look_after() {
  LettingGo going;
  bool alone = false;
  for (;;) {
    // Only the end of the control channel is waited for here. Its messages are for the thread that asked.
    pollfd waits[] = {{alone ? -1 : start_.commands, POLLIN, 0}, {alone ? -1 : start_.control, 0, 0}};
    const int ready = poll(waits, std::size(waits), static_cast<int>((going.why ? going.pause : kCheck).count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready != 0 && !alone) {
      Result<link::Message> message = ready > 0 && waits[0].revents && !waits[1].revents
                                          ? link::receive(start_.commands, 0)
                                          : Result<link::Message>(Error{});
      if (!going.why) going.since = std::chrono::steady_clock::now();
      if (message) {
        // Done says that letting go has begun. The control channel tells how it ends.
        if (message->as<link::Detach>()) going.why = "asked for";
        const uint32_t number = message->request;
        (void)link::send(start_.commands, answer_to(std::move(*message)), number);
      } else {
        alone = true;
        if (!lost(going)) return;
      }
    }
    check_guest();
    if (!going.why || !let_go(going)) continue;
    if (alone) return;
    going = {};
  }
}

// Takes no lock: a thread that has it may be waiting for the supervisor. False: there is nothing more to watch.
bool KvmSession::lost(LettingGo& going) {
  const Boot::Phase phase = boot_->phase();
  if (phase == Boot::Phase::untraced) return false;
  if (phase != Boot::Phase::armed) lost_before_armed();
  switch (tracer_->settings().policy.reaction(policy::Trouble::supervisor_loss)) {
    case policy::Reaction::kill:
      say_at_once("the supervisor is gone: the machine ends (on_supervisor_loss = \"kill\")");
      _exit(kNotTraced);
    case policy::Reaction::detach:
      say_at_once(
          "the supervisor is gone: the hooks are taken out, and the guest runs on UNTRACED "
          "(on_supervisor_loss = \"detach\")");
      going.why = "the supervisor is gone";
      return true;
    case policy::Reaction::report:
      say_at_once(
          "the supervisor is gone: the guest runs on traced, and what is found is kept for the next run as far as "
          "there "
          "is room (on_supervisor_loss = \"report\")");
      return true;
    case policy::Reaction::deny:
      tracer_->supervisor_is_lost();
      say_at_once(
          "the supervisor is gone: from now on the guest can send nothing to other machines "
          "(on_supervisor_loss = \"deny\")");
      return true;
    case policy::Reaction::pause:
      break;
  }
  machine.pause();
  say_at_once(
      "the supervisor is gone: the guest stands still and cannot go on; end its machine "
      "(on_supervisor_loss = \"pause\")");
  return false;
}

void KvmSession::check_guest() {
  boot_->while_armed([this] {
    const Machine::Reading reading(machine);
    if (placement_.overwritten()) tracer_->unseen("the guest patched a hooked function: calls of it may not be seen");
    if (placement_.unmapped()) tracer_->unseen("the guest changed the page tables that lead to the tracer's stubs");
  });
}

// One try. False: not yet. It is up to the guest how long a thread of a hidden service stays in its kernel. Services
// are hidden no more after the first try, so there is no way back, and the supervisor has to be told.
bool KvmSession::let_go(LettingGo& going) {
  const auto lasted = std::chrono::steady_clock::now() - going.since;
  std::string stays;
  {
    const Machine::Reading reading(machine);
    stays = boot_->let_go(going.why, lasted < kPatience);
  }
  if (stays.empty()) return true;
  going.pause = std::min(going.pause * 2, kLastPause);
  if (lasted < kSayAfter || stays == going.said) return false;
  tracer_->not_detached(stays);
  going.said = std::move(stays);
  return false;
}

}  // namespace oboro::tracer
