#include "cli/load.h"

#include <fmt/format.h>

#include "cli/output.h"
#include "store/state_dir.h"
#include "supervisor/checkpoint.h"
#include "supervisor/read_back.h"

namespace oboro::cli {
namespace {

std::vector<std::string> problems_of(const history::History& state, const stream::Reader& reader) {
  std::vector<std::string> out = state.incomplete_reasons();
  if (state.lost() > 0) out.push_back(fmt::format("{} records were lost", state.lost()));
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

Result<Loaded> load(const std::string& directory, const Onlooker& onlooker) {
  auto checked = state_directory(directory);
  if (!checked) return checked.error();
  auto reader = open_reader(*checked);
  if (!reader) return reader.error();
  Loaded loaded{std::move(*reader), {}, {}};
  auto before = supervisor::state_at_begin(*checked, loaded.reader.labels());
  if (before) loaded.state = std::move(*before);
  event::Event event;
  for (;;) {
    auto more = loaded.reader.next(event);
    if (!more) return more.error();
    if (!*more) break;
    loaded.state.apply(event);
    if (onlooker) onlooker(loaded, event);
  }
  loaded.problems = problems_of(loaded.state, loaded.reader);
  if (!before) loaded.problems.push_back("of files from before the oldest record: " + before.error().message);
  return loaded;
}

std::string shown_damage(const store::Damage::Line& line) {
  const std::string which = line.number != 0 ? std::to_string(line.number) : fmt::format("at byte {}", line.offset);
  return fmt::format("damaged line {} of the journal: {}", which, line.reason);
}

void warn(const std::vector<std::string>& problems) {
  for (const auto& problem : problems) message("incomplete: " + problem);
}

}  // namespace oboro::cli
