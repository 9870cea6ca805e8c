// The proxies of a guest's hidden services, while it runs: their machines' starts, their ends, and their starts again.
#include <chrono>
#include <fmt/format.h>
#include <signal.h>
#include <utility>
#include <variant>

#include "supervisor/guest.h"
#include "supervisor/say.h"

namespace oboro::supervisor {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kProxyMachineTimeout{180000};  // for a machine that is interpreted, on a busy host
// Before the user is told that a machine is still starting, and between two such messages.
constexpr milliseconds kSayAfter{2000};

// Whether a signal that ends this process has been sent and not been handled yet.
bool is_to_end() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM) || sigismember(&pending, SIGHUP);
}

}  // namespace

// A proxy's descriptor says one thing only: that the proxy has ended.
Result<void> Guest::watch_proxies() {
  const std::vector<int> fds = proxies_.poll_fds();
  proxy_watches_.clear();  // of those that go on, too: a descriptor is watched once
  proxy_watches_.resize(fds.size());
  for (size_t i = 0; i < fds.size(); ++i) {
    const auto ended = [this, i] {
      proxy_watches_[i].drop();
      proxy_ended();
    };
    if (auto done = add(loop_->readable(fds[i], ended), proxy_watches_[i]); !done) return done;
  }
  return {};
}

// A service without its proxy would wait for ever.
Result<void> Guest::watch_starting_proxies() {
  const std::vector<Proxies::Starting> starting = proxies_.starting();
  starting_watches_.clear();
  starting_watches_.resize(starting.size());
  for (size_t i = 0; i < starting.size(); ++i) {
    const auto heard = [this, i, service = starting[i].service] {
      starting_watches_[i].drop();
      const Result<void> there = proxies_.heard(service);
      if (there) return proxy_ended();  // the proxy may have ended by now
      if (phase_ == Phase::running && !is_to_end()) fail(there.error());
    };
    if (auto done = add(loop_->readable(starting[i].fd, heard), starting_watches_[i]); !done) return done;
  }
  return starting.empty() ? Result<void>() : say_what_is_starting(milliseconds(0));
}

Result<void> Guest::say_what_is_starting(milliseconds waited) {
  const auto due = [this, waited] {
    const milliseconds now = waited + kSayAfter;
    std::vector<Proxies::Starting> starting = proxies_.starting();
    std::erase_if(starting, [](const Proxies::Starting& one) { return one.again; });
    if (starting.empty() || phase_ != Phase::running) return;
    if (now >= kProxyMachineTimeout)
      return fail({Errc::limit, fmt::format("hidden service {}: after {} s the proxy's machine is not there",
                                            starting[0].service, now.count() / 1000)});
    for (const auto& one : starting)
      say(fmt::format("starting the machine of the proxy of {} ({} s)", one.service, now.count() / 1000));
    if (auto done = say_what_is_starting(now); !done) fail(done.error());
  };
  return add(loop_->after(kSayAfter, due), starting_timer_);
}

void Guest::proxy_ended() {
  if (phase_ == Phase::proxies_end) {
    if (proxies_.over()) over();
    return;
  }
  while (const auto end = proxies_.ended()) {
    // The signal that ends this process may have been for the proxies, too.
    if (phase_ == Phase::ending || is_to_end()) continue;
    restarts_.resize(options_.hidden.size());
    const bool again = !end->suspect && restarts_[end->service].take(std::chrono::steady_clock::now());
    if (again) to_be_restarted_.push_back(end->service);
    note(fmt::format("the proxy of hidden service {} has ended{}: {}", end->name, end->how,
                     again ? "what it has open fails from here on"
                     : end->suspect
                         ? "it is not started again, and its calls fail from here on"
                         : fmt::format("after {} starts in {} minutes it is not started again, and its calls fail from "
                                       "here on",
                                       RestartLimit::kMost, RestartLimit::kWithin.count())));
  }
  start_proxies_again();
}

// For the user, and for the journal.
void Guest::note(const std::string& what) {
  say(what);
  journal_->warn(what);
}

// A machine that is started reads files of this host, and is there only later.
void Guest::start_proxies_again() {
  if (phase_ != Phase::running) return;
  bool any = false;
  for (const size_t service : std::exchange(to_be_restarted_, {})) {
    if (!proxies_.can_start_again(service)) {
      to_be_restarted_.push_back(service);
      continue;
    }
    any = true;
    if (auto started = proxies_.start_again(service); !started) {
      note(fmt::format("the proxy of hidden service {} cannot be started again: {}", options_.hidden[service].name,
                       started.error().message));
      continue;
    }
    to_be_handed_over_.insert(service);
  }
  if (any)
    for (const auto& watched : {watch_proxies(), watch_starting_proxies()})
      if (!watched) return fail(watched.error());
  for (const size_t service : std::set(to_be_handed_over_))
    if (proxies_.is_there(service)) hand_over_proxy(service);
}

// Only now: until then calls fail at once, and none waits for a proxy that does not come.
void Guest::hand_over_proxy(size_t service) {
  to_be_handed_over_.erase(service);
  const auto answered = [this, service](const Result<link::Body>& answer) {
    const std::string& name = options_.hidden[service].name;
    if (answer && std::holds_alternative<link::Done>(*answer))
      return note(fmt::format("the proxy of hidden service {} runs again ({} of at most {} starts in {} minutes)", name,
                              restarts_[service].within(std::chrono::steady_clock::now()), RestartLimit::kMost,
                              RestartLimit::kWithin.count()));
    const auto* failed = answer ? std::get_if<link::Failed>(&*answer) : nullptr;
    const std::string why = failed ? failed->why : answer ? "it was not understood" : answer.error().message;
    proxies_.drop(service);
    if (phase_ == Phase::running)
      note(fmt::format("the proxy of hidden service {} is not used again, and its calls fail from here on: {}", name,
                       why));
  };
  tracer_->ask(link::NewProxy{service}, answered, proxies_.tracer_fds()[service]);
}

}  // namespace oboro::supervisor
