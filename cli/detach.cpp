// oboro detach: ends tracing, and lets the guest run on.

#include <CLI/CLI.hpp>
#include <chrono>
#include <fmt/format.h>
#include <memory>
#include <thread>

#include "cli/load.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "store/status.h"

namespace oboro::cli {
namespace {

constexpr char kDetachFooter[] =
    R"(Takes all hooks out of a running guest (engine kvm) and lets it run on untraced. The guest does not notice. The result is
incomplete from then on. The events so far stay in the state directory.

A hidden service is hidden no more from the first moment on, but the hooks stay until each of its threads has come back from the
guest's kernel. If that takes long, this command names the threads and stops waiting. The guest is let go as soon as possible
(`oboro status` says "detaching" until then, and "detached" after that).

Exit status: 0 done; 1 it could not be done, or is not over yet; 4 nothing runs with that state directory.)";

constexpr std::chrono::milliseconds kLook{50}, kMostWait{10000};

// The tracer lets the guest go by itself. The run's status shows how far it is.
Result<void> wait_until_over(const std::string& directory) {
  Result<store::Status> status = Error{};
  for (std::chrono::milliseconds waited{0}; waited < kMostWait; waited += kLook) {
    status = store::read_status(directory);
    if (!status) return status.error();
    for (const char* over : {"detached", "untraced", "ended", "failed"})
      if (status->state == over) return {};
    std::this_thread::sleep_for(kLook);
  }
  if (status->state != "detaching") return Error{Errc::limit, "the tracer has not let the guest go, nor said why"};
  return Error{Errc::limit, fmt::format("not over yet: {}. The guest is let go once that is over.", status->error)};
}

int execute(const std::string& given) {
  if (const int code = ask_run(given, "detach"); code != kExitOk) return code;
  const Result<void> over = wait_until_over(*state_directory(given));
  return over ? kExitOk : fail(over.error(), kExitFailed);
}

}  // namespace

void add_detach(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("detach", "End tracing; the guest runs on");
  verb->footer(kDetachFooter);
  auto directory = std::make_shared<std::string>();
  add_state_option(*verb, *directory);
  verb->callback([directory, &exit_code] { exit_code = execute(*directory); });
}

}  // namespace oboro::cli
