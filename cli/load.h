// The state of a state directory, for the verbs that show it.
#pragma once

#include <CLI/App.hpp>
#include <string>

#include "store/labels.h"
#include "store/state.h"
#include "store/view.h"

namespace oboro::cli {

struct Loaded {
  store::State state;
  store::LabelNames labels;
  std::string vm;
  std::vector<std::string> problems;  // why the picture may be incomplete, one line each
};

// --state DIR, into `directory`; empty if it is not given.
void add_state_option(CLI::App& verb, std::string& directory);
// The directory that is meant, checked.
Result<std::string> state_directory(const std::string& given);
Result<store::EventView> open_view(const std::string& directory);
Result<Loaded> load(const std::string& directory);

std::vector<std::string> problems_of(const store::State& state, const store::EventView& view);
// Says on standard error that what was shown is incomplete, if it is.
void warn(const std::vector<std::string>& problems);

}  // namespace oboro::cli
