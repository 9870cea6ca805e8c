#include "cli/load.h"

#include <fmt/format.h>

#include "cli/output.h"
#include "store/state_dir.h"

namespace oboro::cli {

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

Result<stream::EventView> open_view(const std::string& directory) {
  auto view = stream::EventView::open(directory);
  if (!view && view.error().code == Errc::not_found)
    return Error{Errc::not_found, directory + ": no journal there; oboro run makes it"};
  return view;
}

Result<Loaded> load(const std::string& directory) {
  auto checked = state_directory(directory);
  if (!checked) return checked.error();
  auto view = open_view(*checked);
  if (!view) return view.error();
  Loaded loaded;
  event::Event event;
  for (;;) {
    auto more = view->next(event);
    if (!more) return more.error();
    if (!*more) break;
    loaded.state.apply(event);
  }
  loaded.labels = view->labels();
  loaded.vm = view->vm();
  loaded.problems = problems_of(loaded.state, *view);
  return loaded;
}

std::vector<std::string> problems_of(const history::History& state, const stream::EventView& view) {
  std::vector<std::string> out = state.incomplete_reasons();
  if (state.lost() > 0) out.push_back(fmt::format("{} records were lost", state.lost()));
  if (state.out_of_order() > 0) out.push_back(fmt::format("{} events are out of order", state.out_of_order()));
  const store::Damage& damage = view.damage();
  for (const auto& line : damage.first)
    out.push_back(fmt::format("damaged line {} of events.jsonl: {}", line.number, line.reason));
  if (damage.count > damage.first.size())
    out.push_back(fmt::format("{} more damaged lines", damage.count - damage.first.size()));
  if (!view.ring_problem().empty()) out.push_back(view.ring_problem());
  return out;
}

void warn(const std::vector<std::string>& problems) {
  for (const auto& problem : problems) message("incomplete: " + problem);
}

}  // namespace oboro::cli
