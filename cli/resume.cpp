// oboro resume: an operator's word that the guest may go on.

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/load.h"
#include "cli/verbs.h"

namespace oboro::cli {
namespace {

constexpr char kResumeFooter[] =
    R"(Tracing may no longer be vouched for: labels could not be recorded, say, or the journal could not be written. If `[safety]` of the
configuration says "deny" or "pause" for that, sends that could leak are refused, and the guest may stand still. This command lets
the guest go on: troubles so far (`oboro status` shows them) refuse no sends any more. New troubles do. The result stays incomplete,
and the journal has the operator's name.

Exit status: 0 done; 1 it could not be done; 4 nothing runs with that state directory.)";

}  // namespace

void add_resume(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("resume", "Let a guest go on that was held back, or stopped, for its safety");
  verb->footer(kResumeFooter);
  auto directory = std::make_shared<std::string>();
  add_state_option(*verb, *directory);
  verb->callback([directory, &exit_code] { exit_code = ask_run(*directory, "resume"); });
}

}  // namespace oboro::cli
