// oboro: the command line.
#include <CLI/CLI.hpp>

#include "cli/output.h"
#include "cli/verbs.h"

namespace {

constexpr char kFooter[] = R"(oboro VERB --help says more about a verb.

Exit status: 0 done; 1 something failed; 2 usage or configuration; 3 the guest cannot be traced; 4 nothing was found.)";

}  // namespace

int main(int argc, char** argv) {
  using namespace oboro::cli;
  CLI::App app("Traces from outside where classified information spreads in a virtual machine", "oboro");
  app.footer(kFooter);
  app.set_version_flag("--version", "oboro " OBORO_VERSION);
  app.require_subcommand(1);
  int exit_code = kExitOk;
  add_run(app, exit_code);
  add_events(app, exit_code);
  add_list(app, exit_code);
  add_explain(app, exit_code);
  add_where(app, exit_code);
  add_path(app, exit_code);
  add_status(app, exit_code);
  add_detach(app, exit_code);
  add_resume(app, exit_code);
  add_verify(app, exit_code);
  add_index(app, exit_code);
  add_completion(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    app.exit(help);
    return finish_output() ? kExitOk : kExitFailed;
  } catch (const CLI::Error& error) {
    // The library's own message may contain an argument as it is.
    message(error.what());
    message("see oboro --help");
    return kExitUsage;
  }
  return exit_code;
}
