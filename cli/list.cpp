// oboro list: what bears labels now.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>

#include "cli/load.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "store/json.h"

namespace oboro::cli {
namespace {

using event::ObjectType;
using history::TrackedObject;

constexpr char kListFooter[] = R"(Examples:
  oboro list files
  oboro list all --ended --json
  oboro list hidden

Exit status: 0 shown; 1 something failed; 2 usage; 4 there is none.)";

struct ListArguments {
  std::string directory;
  std::string what = "all";
  bool json = false;
  bool ended = false;
};

bool is_unlinked(const TrackedObject& object) {
  const auto* file = std::get_if<history::FileDetail>(&object.detail);
  return file != nullptr && file->unlinked;
}

std::string_view state_of(const TrackedObject& object) {
  switch (object.type) {
    case ObjectType::file:
      return object.ended ? "removed" : is_unlinked(object) ? "unlinked" : "present";
    case ObjectType::process:
      return object.ended ? "exited" : "running";
    default:
      return object.ended ? "closed" : "open";
  }
}

std::string json_line(const Loaded& loaded, const TrackedObject& object) {
  std::string line;
  store::JsonLine json(line);
  const event::Object described = loaded.state.describe(object);
  store::write_object(json, described);
  if (object.type == ObjectType::file) json.list("paths", loaded.state.paths(object));
  json.list("labels", loaded.reader.labels().names(object.labels));
  json.text("since", store::format_time(object.since_ns));
  json.text("state", state_of(object));
  json.end();
  return line + "\n";
}

std::vector<std::string> row(const Loaded& loaded, const TrackedObject& object) {
  std::string what = shown_object(loaded.state.describe(object));
  const auto paths = loaded.state.paths(object);
  for (size_t i = 1; i < paths.size(); ++i) what += (i == 1 ? "  also " : ", ") + shown(paths[i]);
  return {store::object_id(object.type, object.id), std::string(state_of(object)),
          shown_labels(object.labels, loaded.reader.labels()), shown_time(object.since_ns), what};
}

// The word that lists objects of this type alone; empty where only "all" does.
std::string_view plural(ObjectType type) {
  switch (type) {
    case ObjectType::file:
      return "files";
    case ObjectType::process:
      return "processes";
    case ObjectType::socket:
      return "sockets";
    case ObjectType::pipe:
      return "pipes";
    default:
      return {};
  }
}

// Of each also its names: what is shown later, too, must have been asked for.
std::vector<const TrackedObject*> asked_for(const history::History& state, const ListArguments& arguments) {
  std::vector<const TrackedObject*> out;
  for (size_t i = static_cast<size_t>(ObjectType::none) + 1; i < static_cast<size_t>(ObjectType::count); ++i) {
    const auto type = static_cast<ObjectType>(i);
    if (arguments.what != "all" && arguments.what != plural(type)) continue;
    for (const TrackedObject* object : state.objects(type, arguments.ended)) {
      (void)state.paths(*object);
      out.push_back(object);
    }
  }
  return out;
}

int execute(const ListArguments& arguments) {
  if (arguments.what == "hidden") return list_hidden(arguments.directory, arguments.json);
  std::vector<const TrackedObject*> objects;
  Question question;
  question.begin = [&] { objects.clear(); };
  question.ask = [&](Loaded& state) -> Result<void> {
    objects = asked_for(state.state, arguments);
    return {};
  };
  auto loaded = load(arguments.directory, question);
  if (!loaded) return fail(loaded.error(), kExitFailed);
  std::vector<std::vector<std::string>> rows{{"ID", "STATE", "LABELS", "SINCE", "WHAT"}};
  for (const TrackedObject* object : objects)
    if (arguments.json) {
      print(json_line(*loaded, *object));
    } else {
      rows.push_back(row(*loaded, *object));
    }
  if (rows.size() > 1) print(table(rows));
  if (!finish_output()) return kExitFailed;
  warn(loaded->problems);
  if (!objects.empty()) return kExitOk;
  return fail({Errc::not_found, fmt::format("no managed {} now{}", arguments.what == "all" ? "objects" : arguments.what,
                                            arguments.ended ? " or before" : "; --ended shows those before")},
              kExitNotFound);
}

}  // namespace

void add_list(CLI::App& app, int& exit_code) {
  CLI::App* verb =
      app.add_subcommand("list", "List what holds classified information, or what hidden services have used");
  verb->footer(kListFooter);
  auto a = std::make_shared<ListArguments>();
  verb->add_option("what", a->what, "What to list")
      ->check(CLI::IsMember({"files", "processes", "sockets", "pipes", "hidden", "all"}))
      ->capture_default_str();
  verb->add_flag("--json", a->json, "One JSON object per line (docs/formats.md)");
  verb->add_flag("--ended", a->ended, "Also what has exited, was closed or removed");
  add_state_option(*verb, a->directory);
  verb->callback([a, &exit_code] { exit_code = execute(*a); });
}

}  // namespace oboro::cli
