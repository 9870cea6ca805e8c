// oboro index: how far the index beside the journal is, and making it anew.
#include "index/index.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>
#include <unistd.h>

#include "cli/load.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "store/journal/bytes.h"
#include "store/json.h"
#include "supervisor/read_back.h"

namespace oboro::cli {
namespace {

constexpr char kIndexFooter[] =
    R"(The index makes `oboro explain`, `list` and `status` answer at once, however large the journal is. A run keeps it up to date; it
is made of the journal alone, and may be deleted at any time. Who suspects that somebody has written in the state directory makes it
anew, after `oboro verify`: that checks the journal, not the index.

Exit status: 0 shown or made; 1 something failed, or the index does not fit to the journal; 2 usage; 4 there is none.)";

struct IndexArguments {
  std::string directory;
  bool rebuild = false;
  bool json = false;
};

Result<uint64_t> journal_end(const std::string& directory) {
  auto journal = store::JournalBytes::open(directory);
  return journal ? journal->end() : journal.error();
}

void show_progress(uint64_t events) {
  if (::isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{} events ", events);
}

Result<void> rebuild(const std::string& directory) {
  index::Writer writer(directory,
                       [&](const store::LabelNames& labels) { return supervisor::held_at_begin(directory, labels); });
  if (auto cleared = writer.clear(); !cleared) return cleared;
  for (uint64_t events = 0;;) {
    auto step = writer.step();
    if (!step) return step.error();
    show_progress(events += step->events);
    if (step->at_end) break;
  }
  if (::isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{:40}\r", "");
  return {};
}

std::string line_of(const index::Standing& standing, uint64_t end, uint64_t size, bool json) {
  if (!json)
    return fmt::format("{} events are in the index: the journal's up to byte {} of {}; it takes {} MiB\n",
                       standing.figures.order, standing.cursor.offset, end, (size + (1 << 20) - 1) >> 20);
  std::string out;
  store::JsonLine line(out);
  line.always("events", standing.figures.order);
  line.always("offset", standing.cursor.offset);
  line.always("end", end);
  line.always("size", size);
  line.end();
  return out + "\n";
}

int execute(const IndexArguments& arguments) {
  const auto directory = state_directory(arguments.directory);
  if (!directory) return fail(directory.error(), kExitFailed);
  const auto end = journal_end(*directory);
  if (!end && end.error().code == Errc::not_found)
    return fail({Errc::not_found, *directory + ": no journal there; oboro run makes it"}, kExitFailed);
  if (!end) return fail(end.error(), kExitFailed);
  if (arguments.rebuild)
    if (auto made = rebuild(*directory); !made) return fail(made.error(), kExitFailed);
  const auto snapshot = index::Snapshot::open(*directory);
  if (!snapshot) return fail(snapshot.error(), snapshot.error().code == Errc::not_found ? kExitNotFound : kExitFailed);
  print(line_of((*snapshot)->standing(), *end, index::size_on_disk(*directory), arguments.json));
  return finish_output() ? kExitOk : kExitFailed;
}

}  // namespace

void add_index(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("index", "Show how far the index of the journal is, or make it anew");
  verb->footer(kIndexFooter);
  auto a = std::make_shared<IndexArguments>();
  verb->add_flag("--rebuild", a->rebuild, "Make it anew, of all that is in the journal");
  verb->add_flag("--json", a->json, "One JSON object (docs/formats.md)");
  add_state_option(*verb, a->directory);
  verb->callback([a, &exit_code] { exit_code = execute(*a); });
}

}  // namespace oboro::cli
