// oboro where: what classified information has come to from a file or process.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <memory>
#include <unordered_set>

#include "cli/flow.h"
#include "cli/output.h"
#include "cli/verbs.h"

namespace oboro::cli {
namespace {

constexpr char kWhereEnd[] = R"(

What came there on several ways is shown where it came first. Each line stands below the one that it came from.

Exit status: 0 shown; 1 something failed; 2 usage; 4 it is not managed, or nothing came from it.)";
constexpr size_t kMost = 100'000;  // each with its event in memory

struct WhereArguments {
  std::string directory;
  std::string what;
  bool json = false, still = false;
  size_t limit = 1000;
};

struct Place {
  history::Reached reached;
  const event::Event* event;
  event::Object object;  // of a leak: its other end
  bool leak = false, still = false;
};

// Those that exist, with everything on the way to one of them.
void keep_what_exists(std::vector<Place>& places) {
  std::vector<Place> kept;
  size_t wanted = 0;  // from the end: the depth at which somebody below needs a parent
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    const size_t depth = place->reached.depth;
    if (!place->still && depth != wanted) continue;
    wanted = depth - 1;
    kept.push_back(std::move(*place));
  }
  places.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));
}

void show_place(const Loaded& loaded, const Place& place) {
  const std::string gap(2 * std::min<size_t>(place.reached.depth, 40), ' ');
  const char* const end = place.leak ? "  [left the machine]" : place.still ? "" : "  [ended]";
  print(fmt::format("{}{}{}\n", gap, shown_step(*place.event, loaded.reader.labels()), end));
}

void show_place_json(const Loaded& loaded, const Place& place) {
  std::string line;
  store::JsonLine json(line);
  json.always("depth", place.reached.depth);
  json.begin("object");
  store::write_object(json, place.object);
  json.end();
  json.list("labels", loaded.reader.labels().names(place.reached.labels));
  json.boolean("leak", place.leak);
  json.boolean("still", place.still);
  json.begin_list("events");
  json.item();
  store::write_event(*place.event, loaded.reader.labels(), loaded.reader.vm(), line);
  json.end_list();
  json.end();
  print(line + "\n");
}

int execute(const WhereArguments& arguments) {
  const auto what = Named::parse(arguments.what);
  if (!what) return fail(what.error(), kExitUsage);
  if (what->seq() != 0)
    return fail({Errc::invalid, arguments.what + ": what has left the machine is not followed"}, kExitUsage);
  Trail trail(0);
  const size_t most = arguments.limit == 0 ? kMost : std::min(arguments.limit, kMost);
  bool managed = false, more = false;
  std::string header;
  Events events;
  std::vector<Place> places;  // in `events`
  Question question;
  question.begin = [&] { trail.begin(); };
  question.saw = [&](const Loaded& so_far, const event::Event& event) { trail.saw(so_far, event); };
  question.ask = [&](Loaded& loaded) -> Result<void> {
    places.clear();
    events.clear();
    const history::TrackedObject* const origin = what->find(loaded.state);
    managed = origin != nullptr;
    if (!managed) return {};
    header = fmt::format("{}  has label {}\n", shown_object(loaded.state.describe(*origin)),
                         shown_labels(origin->labels, loaded.reader.labels()));
    std::vector<history::Reached> reached = loaded.state.reach(*origin, most + 1);
    more = reached.size() > most;
    if (more) reached.pop_back();
    for (const auto& one : reached) {
      if (auto fetched = trail.fetch(loaded.reader, one.step, events); !fetched) return fetched.error();
      const auto event = events.find(one.step.order);
      if (event == events.end()) continue;
      const history::TrackedObject* const object = one.to == 0 ? nullptr : loaded.state.find(one.to);
      places.push_back({one, &event->second, object ? loaded.state.describe(*object) : event->second.object,
                        event->second.kind == event::Kind::leak, object && !object->ended});
    }
    return {};
  };
  auto loaded = load(arguments.directory, question);
  if (!loaded) return fail(loaded.error(), kExitFailed);
  if (arguments.still) keep_what_exists(places);
  if (!managed || places.empty()) {
    warn(loaded->problems);
    const std::string why = managed ? "nothing came from it" : "not managed";
    return fail({Errc::not_found, arguments.what + ": " + why + ", as far as the journal tells"}, kExitNotFound);
  }
  if (!arguments.json) print(header);
  for (const Place& place : places) (arguments.json ? show_place_json : show_place)(*loaded, place);
  if (!finish_output()) return kExitFailed;
  if (more) message(fmt::format("there is more: the first {} are shown (--limit)", most));
  warn(loaded->problems);
  return kExitOk;
}

}  // namespace

void add_where(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("where", "Show where classified information went from a file, process or socket");
  verb->footer(std::string("Where it went from:\n") + Named::kObjects + kWhereEnd);
  auto a = std::make_shared<WhereArguments>();
  verb->add_option("what", a->what, "PATH in the guest, PID or identity")->required()->type_name("");
  verb->add_flag("--still", a->still, "Only what exists now, and what is on the way to it");
  verb->add_option("--limit", a->limit, "Show so many at most; 0: all")->capture_default_str();
  verb->add_flag("--json", a->json, "One JSON object per object or leak");
  add_state_option(*verb, a->directory);
  verb->callback([a, &exit_code] { exit_code = execute(*a); });
}

}  // namespace oboro::cli
