// oboro list hidden: the files and sockets that hidden services have used, each with its newest event.
#include <fmt/format.h>
#include <map>

#include "cli/load.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "event/detail.h"
#include "store/json.h"

namespace oboro::cli {
namespace {

struct Used {
  std::string service;
  event::Event last;
  uint64_t events = 0;
};

std::string json_line(const Used& used) {
  std::string line;
  store::JsonLine json(line);
  store::write_object(json, used.last.object);
  json.text("service", used.service);
  json.always("events", used.events);
  json.always("pid", used.last.subject.pid);
  json.text("comm", used.last.subject.comm);
  json.text("last", event::what_was_done(used.last.as<event::Hidden>()));
  json.text("time", store::format_time(used.last.time_ns));
  json.end();
  return line + "\n";
}

}  // namespace

int list_hidden(const std::string& directory, bool as_json) {
  auto checked = state_directory(directory);
  if (!checked) return fail(checked.error(), kExitFailed);
  auto reader = open_reader(*checked);
  if (!reader) return fail(reader.error(), kExitFailed);
  std::map<std::pair<std::string, std::string>, Used> all;
  event::Event event;
  for (;;) {
    auto more = reader->next(event);
    if (!more) return fail(more.error(), kExitFailed);
    if (!*more) break;
    if (event.kind != event::Kind::hidden) continue;
    const std::string& service = event.as<event::Hidden>().service;
    std::string what = event.object.type == event::ObjectType::none ? fmt::format("process {}", event.subject.pid)
                                                                    : shown_object(event.object);
    Used& used = all[{service, std::move(what)}];
    used.service = service;
    ++used.events;
    used.last = event;
  }
  std::vector<std::vector<std::string>> rows{{"SERVICE", "WHAT", "BY", "EVENTS", "LAST"}};
  for (const auto& [key, used] : all) {
    if (as_json)
      print(json_line(used));
    else
      rows.push_back(
          {shown(used.service), key.second,
           shown(fmt::format("{} ({})", used.last.subject.comm, used.last.subject.pid)), fmt::format("{}", used.events),
           shown_time(used.last.time_ns) + "  " + shown(event::what_was_done(used.last.as<event::Hidden>()))});
  }
  if (rows.size() > 1) print(table(rows));
  if (!finish_output()) return kExitFailed;
  if (!all.empty()) return kExitOk;
  return fail({Errc::not_found, "no hidden service has done anything"}, kExitNotFound);
}

}  // namespace oboro::cli
