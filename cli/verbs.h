// The verbs of the command line: each add_... declares one, and its callback sets the exit code.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace oboro::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,        // or configuration
  kExitUntraceable = 3,  // run: the guest cannot be traced
  kExitNotFound = 4,     // explain, where, path, list: there is nothing to show
};

void add_run(CLI::App& app, int& exit_code);
void add_events(CLI::App& app, int& exit_code);
void add_list(CLI::App& app, int& exit_code);
void add_explain(CLI::App& app, int& exit_code);
void add_where(CLI::App& app, int& exit_code);
void add_path(CLI::App& app, int& exit_code);
void add_status(CLI::App& app, int& exit_code);
void add_detach(CLI::App& app, int& exit_code);
void add_resume(CLI::App& app, int& exit_code);
void add_verify(CLI::App& app, int& exit_code);
void add_index(CLI::App& app, int& exit_code);
void add_completion(CLI::App& app, int& exit_code);

// Lets an option be given several times. Each time it takes one word: the library's default for a list takes all words
// up to the next option, and the "--" behind them.
inline CLI::Option* repeatable(CLI::Option* option) { return option->expected(1)->allow_extra_args(false)->take_all(); }

// `list hidden` (hidden.cpp). Returns the exit code.
int list_hidden(const std::string& directory, bool as_json);

// Asks the run of that state directory to do something (docs/formats.md, run.sock). Prints what goes wrong on standard
// error, and returns the exit code.
int ask_run(const std::string& given_directory, std::string_view request);

// Prints the error on standard error, in one line, and returns the exit code.
int fail(const Error& error, int exit_code);

}  // namespace oboro::cli
