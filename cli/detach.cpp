// oboro detach: ends tracing, and lets the guest run on.

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>

#include "cli/load.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "supervisor/run_socket.h"

namespace oboro::cli {
namespace {

constexpr char kFooter[] =
    R"(Takes all hooks out of a running guest (engine kvm) and lets it run on untraced: for it nothing happens. The result says
"incomplete" from then on. What was found so far stays in the state directory.

Exit status: 0 done; 1 it could not be done; 4 nothing runs with that state directory.)";

int execute(const std::string& given) {
  const Result<std::string> directory = state_directory(given);
  if (!directory) return fail(directory.error(), kExitUsage);
  const Result<std::string> answer = supervisor::ask_run(*directory, "detach");
  if (!answer) return fail(answer.error(), answer.error().code == Errc::not_found ? kExitNotFound : kExitFailed);
  if (*answer == "ok") return kExitOk;
  return fail(Error{Errc::unsupported, *answer}, kExitFailed);
}

}  // namespace

void add_detach(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("detach", "End tracing; the guest runs on");
  verb->footer(kFooter);
  auto directory = std::make_shared<std::string>();
  add_state_option(*verb, *directory);
  verb->callback([directory, &exit_code] { exit_code = execute(*directory); });
}

}  // namespace oboro::cli
