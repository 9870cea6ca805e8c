// oboro events: the journal, filtered, as text or JSON.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fmt/format.h>
#include <iterator>
#include <memory>
#include <optional>
#include <poll.h>
#include <unistd.h>

#include "base/number.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "store/files.h"
#include "store/json.h"

namespace oboro::cli {
namespace {

constexpr char kEventsFooter[] = R"(Examples:
  oboro events --kind leak
  oboro events -f --json | jq -r 'select(.kind == "leak") | .object.remote.address'
  oboro events -f --json --cursor /var/lib/exporter/web.cursor | exporter
                      goes on, after any crash, where it was: each event at least once

Kinds:{}. Times are UTC.

Exit status: 0 shown; 1 something failed; 2 usage.)";

constexpr size_t kHelpWidth = 118;
constexpr size_t kMaxCursorFile = 128;
constexpr uint64_t kBatch = 4096;  // events between two looks at whether they were taken

struct EventsArguments {
  std::string directory;
  bool follow = false;
  bool json = false;
  std::vector<std::string> kinds;
  std::string label;
  uint32_t pid = 0;
  uint64_t since = 0;
  std::optional<uint64_t> to;
  std::string from;         // a cursor, or a number
  std::string cursor_file;  // empty: none
};

class Filter {
 public:
  explicit Filter(const EventsArguments& arguments) : arguments_(arguments) {
    for (const std::string& text : arguments.kinds)
      if (event::Kind kind{}; parse(text, kind)) kinds_ |= uint64_t{1} << static_cast<unsigned>(kind);
  }
  // Labels may be added while the journal is followed, so the name is looked up each time.
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

struct Start {
  stream::Cursor cursor;
  uint64_t seq = 0;  // events before this one are passed over
};

Result<Start> parse_start(const std::string& text) {
  Start start;
  if (text.empty() || parse_number(text, start.seq)) return start;
  auto cursor = stream::Cursor::parse(text);
  if (!cursor) return Error{Errc::invalid, "--from: " + cursor.error().message + ", nor the number of an event"};
  start.cursor = *cursor;
  return start;
}

// The start is the cursor in the file; if there is no file yet, the one that --from gives.
Result<Start> find_start(const EventsArguments& arguments) {
  auto start = parse_start(arguments.from);
  if (!start || arguments.cursor_file.empty()) return start;
  auto text = store::read_file(arguments.cursor_file, kMaxCursorFile);
  if (!text && text.error().code == Errc::not_found) return start;
  if (!text) return text.error();
  auto cursor = stream::Cursor::parse(*text);
  if (!cursor) return Error{Errc::invalid, arguments.cursor_file + ": " + cursor.error().message};
  return Start{*cursor, 0};
}

class EventPrinter {
 public:
  EventPrinter(const EventsArguments& arguments, stream::Reader reader, const Start& start)
      : arguments_(arguments),
        filter_(arguments),
        reader_(std::move(reader)),
        from_(start.seq),
        behind_(reader_.cursor()),
        stored_(behind_) {}

  Result<void> show_all() {
    // The descriptor comes first. Otherwise an event could come unnoticed.
    if (arguments_.follow)
      if (auto fd = reader_.poll_fd(); !fd) return fd.error();
    event::Event event;
    for (uint64_t count = 1;; ++count) {
      auto more = reader_.next(event);
      if (!more) return more.error();
      tell_damage();
      const bool over = *more && arguments_.to && event.seq >= *arguments_.to;
      if (*more && (!over || event.seq == *arguments_.to)) {
        show(event);
        behind_ = reader_.cursor();
        if (!over && count % kBatch != 0) continue;
      }
      if (!finish_output()) return {};
      if (auto stored = store_cursor(); !stored) return stored;
      if (over) break;
      if (*more) continue;
      if (!arguments_.follow || !wait()) break;
    }
    if (!reader_.ring_problem().empty()) message(reader_.ring_problem());
    if (damaged_ > reader_.damage().first.size()) message(fmt::format("{} damaged lines in all", damaged_));
    return {};
  }

 private:
  void tell_damage() {
    const store::Damage& damage = reader_.damage();
    for (; damaged_ < damage.count; ++damaged_)
      if (damaged_ < damage.first.size()) message(shown_damage(damage.first[damaged_]));
  }

  void show(const event::Event& event) {
    if (event.seq < from_) return;
    from_ = 0;  // from here on all events, notes included
    const store::LabelNames& labels = reader_.labels();
    if (!filter_.passes(event, labels)) return;
    line_.clear();
    if (arguments_.json) {
      write_event(event, labels, reader_.vm(), line_);
    } else {
      const std::string text = shown_event(event, labels);
      line_ = fmt::format("{:>6} {}  {}", event.seq, shown_time(event.time_ns), coloured(colour_of(event), text));
    }
    line_ += '\n';
    print(line_);
  }

  // Stores the cursor only after the events before it have been written out.
  Result<void> store_cursor() {
    if (arguments_.cursor_file.empty() || from_ != 0 || behind_ == stored_) return {};
    stored_ = behind_;
    return store::write_file_atomically(arguments_.cursor_file, stored_.text() + "\n");
  }

  // Waits until there may be a further event. False: nobody reads our output any more.
  bool wait() {
    const auto fd = reader_.poll_fd();
    pollfd waiting[] = {{fd ? *fd : -1, POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
    while (::poll(waiting, std::size(waiting), -1) < 0 && errno == EINTR) continue;
    return waiting[1].revents == 0;
  }

  const EventsArguments& arguments_;
  const Filter filter_;
  stream::Reader reader_;
  uint64_t from_;
  stream::Cursor behind_;  // the last event that was taken
  stream::Cursor stored_;
  uint64_t damaged_ = 0;
  std::string line_;
};

int execute(const EventsArguments& arguments) {
  if (auto parsed = parse_start(arguments.from); !parsed) return fail(parsed.error(), kExitUsage);
  auto start = find_start(arguments);
  if (!start) return fail(start.error(), kExitFailed);
  auto directory = state_directory(arguments.directory);
  if (!directory) return fail(directory.error(), kExitFailed);
  // No event before the first one with such a number is shown.
  const uint64_t number = std::max(start->seq, arguments.since);
  const bool at_cursor = start->cursor != stream::Cursor{} || number == 0;
  auto reader = at_cursor ? open_reader(*directory, start->cursor) : open_reader_before(*directory, number);
  if (!reader) return fail(reader.error(), kExitFailed);
  // If nobody reads our output any more, that is an end like any other.
  std::signal(SIGPIPE, SIG_IGN);
  if (auto shown = EventPrinter(arguments, std::move(*reader), *start).show_all(); !shown)
    return fail(shown.error(), kExitFailed);
  return finish_output() || output_closed() ? kExitOk : kExitFailed;
}

}  // namespace

void add_events(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("events", "Show the events of a guest, while it runs and after");
  auto a = std::make_shared<EventsArguments>();
  std::vector<std::string> kinds;
  for (size_t i = 0; i < static_cast<size_t>(event::Kind::count); ++i)
    kinds.emplace_back(name(static_cast<event::Kind>(i)));
  std::string listed;
  size_t width = std::string_view("Kinds:").size();
  for (const std::string& kind : kinds) {
    const bool wraps = width + 1 + kind.size() > kHelpWidth;
    width = (wraps ? 0 : width + 1) + kind.size();
    listed += (wraps ? "\n" : " ") + kind;
  }
  verb->footer(fmt::format(kEventsFooter, listed));
  verb->add_flag("-f,--follow", a->follow, "Go on with events as they come");
  verb->add_flag("--json", a->json, "One JSON object per line (docs/formats.md)");
  repeatable(verb->add_option("--kind", a->kinds, "Only these kinds, separated by commas; repeatable"))
      ->delimiter(',')
      ->type_name("KIND,...")
      ->check(CLI::IsMember(kinds).description(""));
  verb->add_option("--label", a->label, "Only events of this label")->type_name("LABEL");
  verb->add_option("--pid", a->pid, "Only events that this process has a part in")->type_name("N");
  verb->add_option("--since", a->since, "Only events from this number on")->type_name("SEQ");
  verb->add_option("--from", a->from, "Begin with the event of this number, or behind this cursor")
      ->type_name("SEQ|CURSOR");
  verb->add_option("--to", a->to, "End with the event of this number")->type_name("SEQ");
  verb->add_option("--cursor", a->cursor_file,
                   "Begin behind the cursor in this file, if it is there; keep in it how far the output has come")
      ->type_name("FILE");
  add_state_option(*verb, a->directory);
  verb->callback([a, &exit_code] { exit_code = execute(*a); });
}

}  // namespace oboro::cli
