// oboro explain: how classified information came to a file or process. oboro path: how it came there from another one.
#include <CLI/CLI.hpp>
#include <memory>

#include "cli/flow.h"
#include "cli/verbs.h"

namespace oboro::cli {
namespace {

constexpr char kExplainEnd[] = "\n\nExit status: 0 shown; 1 something failed; 2 usage; 4 it is not managed.";

struct ExplainArguments {
  std::string directory;
  std::string what, origin;
  bool json = false;
};

int explain(const ExplainArguments& arguments) {
  const auto what = Named::parse(arguments.what);
  if (!what) return fail(what.error(), kExitUsage);
  if (arguments.origin.empty()) return show_ways(arguments.directory, *what, nullptr, arguments.json);
  const auto origin = Named::parse(arguments.origin);
  if (!origin) return fail(origin.error(), kExitUsage);
  if (origin->seq() != 0)
    return fail({Errc::invalid, arguments.origin + ": a leak is where a way ends, not where one begins"}, kExitUsage);
  return show_ways(arguments.directory, *what, &*origin, arguments.json);
}

}  // namespace

void add_explain(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("explain", "Show how classified information came to a file, process or socket");
  verb->footer(std::string("What is explained:\n") + Named::kObjects + Named::kLeak + kExplainEnd);
  auto a = std::make_shared<ExplainArguments>();
  verb->add_option("what", a->what, Named::kForms)->required()->type_name("");
  verb->add_flag("--json", a->json, "One JSON object per way that labels came");
  add_state_option(*verb, a->directory);
  verb->callback([a, &exit_code] { exit_code = explain(*a); });
}

void add_path(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("path", "Show how classified information came from one object to another");
  verb->footer(std::string("Both are named in one of these ways:\n") + Named::kObjects + Named::kLeak +
               "\nAn object has each label by its first way. Exit status: 0 shown; 1 something failed; 2 usage; 4 "
               "there is no way that the journal tells of.");
  auto a = std::make_shared<ExplainArguments>();
  verb->add_option("from", a->origin, "PATH in the guest, PID or identity")->required()->type_name("");
  verb->add_option("to", a->what, Named::kForms)->required()->type_name("");
  verb->add_flag("--json", a->json, "One JSON object per way that labels came");
  add_state_option(*verb, a->directory);
  verb->callback([a, &exit_code] { exit_code = explain(*a); });
}

}  // namespace oboro::cli
