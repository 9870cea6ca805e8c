#include "tracer/commands.h"

#include <fmt/format.h>
#include <signal.h>
#include <thread>
#include <utility>

namespace oboro::tracer {

link::Body answer(Tracer& tracer, link::Message request) {
  switch (request.type()) {
    case link::Type::Ping:
      return link::Done{};
    case link::Type::GetStats: {
      const stream::RingCounters& c = tracer.counters();
      return link::Stats{.hooks_armed = c.hooks_armed,
                         .records = c.records,
                         .lost = c.lost,
                         .incomplete = c.incomplete,
                         .managed_files = c.managed_files,
                         .managed_processes = c.managed_processes,
                         .managed_sockets = c.managed_sockets,
                         .stops = c.stops,
                         .hidden_calls = c.hidden_calls,
                         .boot = c.boot};
    }
    case link::Type::GoOn: {
      const auto& by = *request.as<link::GoOn>();
      tracer.go_on();
      tracer.commanded({"resume", static_cast<uint32_t>(by.uid), by.user});
      return link::Done{};
    }
    case link::Type::Journal:
      tracer.journal_is(request.as<link::Journal>()->available);
      return link::Done{};
    case link::Type::NewProxy: {
      const auto renewed = tracer.renew_proxy(request.as<link::NewProxy>()->service, std::move(request.fds));
      if (!renewed) return link::Failed{renewed.error().message};
      return link::Done{};
    }
    case link::Type::Pause:
    case link::Type::Resume:
      return link::Failed{"with this engine the machine is stopped by whoever started it"};
    case link::Type::Detach:
      return link::Failed{"only a guest on engine kvm can be let go; with tcg, the tracer ends with the guest"};
    default:
      return link::Failed{fmt::format("{} is no request", link::name_of(request.type()))};
  }
}

void serve_commands(Tracer& tracer, int commands) {
  for (;;) {
    Result<link::Message> request = link::receive(commands, -1);
    // A message that is not understood cannot be answered, as its number is not known. The supervisor gives up waiting
    // by itself.
    if (!request && request.error().code != Errc::io) continue;
    if (!request) return;
    const uint32_t number = request->request;
    if (!link::send(commands, answer(tracer, std::move(*request)), number)) return;
  }
}

void start_commands_thread(Tracer& tracer, int commands) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([&tracer, commands] { serve_commands(tracer, commands); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace oboro::tracer
