#include "cli/load.h"

#include <fmt/format.h>

#include "cli/output.h"
#include "store/journal/bytes.h"
#include "store/state_dir.h"
#include "supervisor/checkpoint.h"
#include "supervisor/read_back.h"

namespace oboro::cli {
namespace {

std::vector<std::string> problems_of(const history::History& state, const stream::Reader& reader) {
  std::vector<std::string> out = state.incomplete_reasons();
  if (state.lost() > 0) out.push_back(fmt::format("{} records were lost", state.lost()));
  if (const history::LeftOut& left = state.left_out(); left.floods > 0)
    out.push_back(left.events == 0
                      ? "events may have been left out: names or flows may be missing"
                      : fmt::format("{} events from {} to {} were left out: names or flows of then may be missing",
                                    left.events, left.first_seq, left.last_seq));
  if (state.out_of_order() > 0) out.push_back(fmt::format("{} events are out of order", state.out_of_order()));
  const store::Damage& damage = reader.damage();
  for (const auto& line : damage.first) out.push_back(shown_damage(line));
  if (damage.count > damage.first.size())
    out.push_back(fmt::format("{} more damaged lines", damage.count - damage.first.size()));
  if (!reader.ring_problem().empty()) out.push_back(reader.ring_problem());
  return out;
}

Result<stream::Reader> opened(Result<stream::Reader> reader, const std::string& directory) {
  if (!reader && reader.error().code == Errc::not_found)
    return Error{Errc::not_found, directory + ": no journal there; oboro run makes it"};
  return reader;
}

constexpr uint64_t kSlowJournal = 64 << 20;  // it takes a second

uint64_t journal_size(const std::string& directory) {
  auto journal = store::JournalBytes::open(directory);
  const auto end = journal ? journal->end() : journal.error();
  return end ? *end - journal->begin() : 0;
}

// What held where reading begins.
Result<void> begin(const std::string& directory, Loaded& loaded) {
  if (loaded.index) {
    loaded.state = loaded.index->state();
    return {};
  }
  auto before = supervisor::held_at_begin(directory, loaded.reader.labels());
  if (!before) return before.error();
  loaded.state.begin_with(*before);
  return {};
}

Result<Loaded> load_with(const std::string& directory, std::unique_ptr<index::Snapshot> index,
                         const Question& question) {
  const stream::Cursor from = index ? index->standing().cursor : stream::Cursor{};
  auto reader = open_reader(directory, from);
  if (!reader) return reader.error();
  if (from != stream::Cursor{}) reader->go_on(index->standing().read);
  Loaded loaded{std::move(*reader), std::move(index), {}, {}};
  if (question.begin) question.begin();
  const auto begun = begin(directory, loaded);
  event::Event event;
  for (;;) {
    auto more = loaded.reader.next(event);
    if (!more) return more.error();
    if (!*more) break;
    loaded.state.apply(event, loaded.reader.place().value_or(history::kNoPlace));
    if (question.saw) question.saw(loaded, event);
  }
  if (question.ask)
    if (auto asked = question.ask(loaded); !asked) return asked.error();
  loaded.problems = problems_of(loaded.state, loaded.reader);
  if (!begun) loaded.problems.push_back("of files from before the oldest record: " + begun.error().message);
  return loaded;
}

}  // namespace

void add_state_option(CLI::App& verb, std::string& directory) {
  verb.add_option("--state", directory, "State directory (default: $OBORO_STATE, else ~/.local/state/oboro/default)")
      ->type_name("DIR");
}

Result<std::string> state_directory(const std::string& given) {
  Result<std::string> directory = given.empty() ? store::default_state_directory() : Result<std::string>(given);
  if (!directory) return directory.error();
  auto checked = store::check_state_directory(*directory);
  if (!checked && checked.error().code == Errc::not_found)
    return Error{Errc::not_found, *directory + ": no such state directory; oboro run makes it"};
  if (!checked) return checked.error();
  return directory;
}

Result<stream::Reader> open_reader(const std::string& directory, const stream::Cursor& from) {
  return opened(stream::Reader::open(directory, from), directory);
}

Result<stream::Reader> open_reader_before(const std::string& directory, uint64_t seq) {
  return opened(supervisor::open_before(directory, seq), directory);
}

Result<Loaded> load(const std::string& given, const Question& question) {
  auto directory = state_directory(given);
  if (!directory) return directory.error();
  auto snapshot = index::Snapshot::open(*directory);
  if (snapshot) {
    auto loaded = load_with(*directory, std::move(*snapshot), question);
    if (!loaded || !loaded->index->failure()) {
      if (loaded) loaded->state.forget_source();
      if (loaded) loaded->index.reset();
      return loaded;
    }
    snapshot = *loaded->index->failure();
  }
  const bool worth_it = snapshot.error().code != Errc::not_found || journal_size(*directory) > kSlowJournal;
  if (worth_it)
    message("all of the journal is read: " + snapshot.error().message + " (oboro index --rebuild makes it anew)");
  return load_with(*directory, nullptr, question);
}

std::string shown_damage(const store::Damage::Line& line) {
  const std::string which = line.number != 0 ? std::to_string(line.number) : fmt::format("at byte {}", line.offset);
  return fmt::format("damaged line {} of the journal: {}", which, line.reason);
}

void warn(const std::vector<std::string>& problems) {
  for (const auto& problem : problems) message("incomplete: " + problem);
}

}  // namespace oboro::cli
