// oboro events: the journal, filtered, as text or JSON.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fmt/format.h>
#include <memory>

#include "cli/load.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "store/json.h"

namespace oboro::cli {
namespace {

constexpr char kEventsFooter[] = R"(Examples:
  oboro events --kind leak
  oboro events -f --json | jq -r 'select(.kind == "leak") | .object.remote.address'

Kinds: started armed reset stopped classified diffusion leak exec exited closed renamed linked unlinked removed incomplete
lost hidden warning refused. Times are UTC.

Exit status: 0 shown; 1 something failed; 2 usage.)";

constexpr int kFollowMs = 1000;

struct EventsArguments {
  std::string directory;
  bool follow = false;
  bool json = false;
  std::vector<std::string> kinds;
  std::string label;
  uint32_t pid = 0;
  uint64_t since = 0;
};

class Filter {
 public:
  explicit Filter(const EventsArguments& arguments) : arguments_(arguments) {
    for (const std::string& text : arguments.kinds)
      if (event::Kind kind{}; parse(text, kind)) kinds_ |= uint64_t{1} << static_cast<unsigned>(kind);
  }
  // The labels can grow while the journal is followed, so the name is looked up each time.
  bool passes(const event::Event& event, const store::LabelNames& labels) const {
    if (kinds_ != 0 && (kinds_ >> static_cast<unsigned>(event.kind) & 1) == 0) return false;
    if (!arguments_.label.empty() && (event.labels & labels.find(arguments_.label)) == 0) return false;
    if (event.seq < arguments_.since) return false;
    const uint32_t pid = arguments_.pid;
    return pid == 0 || event.subject.pid == pid || event.from.process.pid == pid || event.object.process.pid == pid;
  }

 private:
  const EventsArguments& arguments_;
  uint64_t kinds_ = 0;
};

int execute(const EventsArguments& arguments) {
  auto directory = state_directory(arguments.directory);
  if (!directory) return fail(directory.error(), kExitFailed);
  auto view = open_view(*directory);
  if (!view) return fail(view.error(), kExitFailed);
  const Filter filter(arguments);
  event::Event event;
  std::string line;
  uint64_t damaged = 0;
  for (;;) {
    auto more = view->next(event);
    if (!more) return fail(more.error(), kExitFailed);
    for (; damaged < view->damage().count; ++damaged)
      if (damaged < view->damage().first.size()) {
        const auto& damage = view->damage().first[damaged];
        message(fmt::format("damaged line {} of events.jsonl: {}", damage.number, damage.reason));
      }
    if (!*more) {
      if (!finish_output()) return kExitFailed;
      if (!arguments.follow) break;
      view->wait(kFollowMs);
      continue;
    }
    if (!filter.passes(event, view->labels())) continue;
    line.clear();
    if (arguments.json) {
      write_event(event, view->labels(), view->vm(), line);
    } else {
      const std::string text = shown_event(event, view->labels());
      line = fmt::format("{:>6} {}  {}", event.seq, shown_time(event.time_ns), coloured(colour_of(event), text));
    }
    line += '\n';
    print(line);
  }
  if (!view->ring_problem().empty()) message(view->ring_problem());
  if (damaged > view->damage().first.size()) message(fmt::format("{} damaged lines in all", damaged));
  return kExitOk;
}

}  // namespace

void add_events(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("events", "Show the events of a guest, while it runs and after");
  verb->footer(kEventsFooter);
  auto a = std::make_shared<EventsArguments>();
  std::vector<std::string> kinds;
  for (size_t i = 0; i < static_cast<size_t>(event::Kind::count); ++i)
    kinds.emplace_back(name(static_cast<event::Kind>(i)));
  verb->add_flag("-f,--follow", a->follow, "Go on with events as they come");
  verb->add_flag("--json", a->json, "One JSON object per line (docs/formats.md)");
  repeatable(verb->add_option("--kind", a->kinds, "Only these kinds, separated by commas; repeatable"))
      ->delimiter(',')
      ->type_name("KIND,...")
      ->check(CLI::IsMember(kinds).description(""));
  verb->add_option("--label", a->label, "Only events of this label")->type_name("LABEL");
  verb->add_option("--pid", a->pid, "Only events that this process has a part in")->type_name("N");
  verb->add_option("--since", a->since, "Only events from this number on")->type_name("SEQ");
  add_state_option(*verb, a->directory);
  verb->callback([a, &exit_code] { exit_code = execute(*a); });
}

}  // namespace oboro::cli
