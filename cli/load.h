// The state of a state directory, for the verbs that show it.
#pragma once

#include <CLI/App.hpp>
#include <string>

#include "history/history.h"
#include "store/label_names.h"
#include "stream/view.h"

namespace oboro::cli {

struct Loaded {
  history::History state;
  store::LabelNames labels;
  std::string vm;
  std::vector<std::string> problems;  // why the picture may be incomplete, one line each
};

// --state DIR, into `directory`; empty if it is not given.
void add_state_option(CLI::App& verb, std::string& directory);
// The directory that is meant, checked.
Result<std::string> state_directory(const std::string& given);
Result<stream::EventView> open_view(const std::string& directory);
Result<Loaded> load(const std::string& directory);

std::vector<std::string> problems_of(const history::History& state, const stream::EventView& view);
// Says on standard error that what was shown is incomplete, if it is.
void warn(const std::vector<std::string>& problems);

}  // namespace oboro::cli
