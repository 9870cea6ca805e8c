// The state that is folded from a state directory, for the verbs that show it.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "history/history.h"
#include "index/index.h"
#include "store/label_names.h"
#include "stream/reader.h"

namespace oboro::cli {

struct Loaded {
  stream::Reader reader;                   // at the end
  std::unique_ptr<index::Snapshot> index;  // while a Question asks, if the state comes from one
  history::History state;
  std::vector<std::string> problems;  // why the state may be incomplete, one line each
};

// Declares --state DIR. `directory` gets it; empty if it is not given.
void add_state_option(CLI::App& verb, std::string& directory);
// The state directory that is meant, checked.
Result<std::string> state_directory(const std::string& given);
Result<stream::Reader> open_reader(const std::string& directory, const stream::Cursor& from = {});
// A reader that begins before the first event with this number, as near to it as is known.
Result<stream::Reader> open_reader_before(const std::string& directory, uint64_t seq);
// What a verb wants to know.
struct Question {
  // Reading begins: by an index, whose events nobody sees, or of all events. It may begin anew.
  std::function<void()> begin;
  // After each event that is read: with the state so far, and the event.
  std::function<void(const Loaded&, const event::Event&)> saw;
  // At the end: all that is wanted of the state. What was not asked for here may be missing from it later.
  std::function<Result<void>(Loaded&)> ask;
};
// Reads the index and the events behind it; without an index that fits, all events, and says why. `directory`: as the
// user gave it.
Result<Loaded> load(const std::string& directory, const Question& question = {});

std::string shown_damage(const store::Damage::Line& line);
// Says on standard error that the shown state is incomplete, if it is.
void warn(const std::vector<std::string>& problems);

}  // namespace oboro::cli
