// oboro status: the run, and whether what it found is complete.
#include "store/status.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <memory>
#include <optional>

#include "cli/load.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "store/json.h"
#include "store/state_dir.h"
#include "stream/recorder.h"
#include "stream/ring_reader.h"
#include "supervisor/launch/walls.h"

namespace oboro::cli {
namespace {

using event::ObjectType;

constexpr char kStatusFooter[] =
    R"(A run whose `oboro run` was killed is shown as "killed"; the next run takes over what it left.

Exit status: 0 shown; 1 something failed; 2 usage.)";

struct StatusArguments {
  std::string directory;
  bool json = false;
};

struct Picture {
  store::Status status;
  Loaded loaded;
  bool running = false;
  uint64_t hooks = 0;
  uint64_t stops = 0;
  uint64_t hidden_calls = 0, hidden_pause_ns = 0;
  uint64_t lost = 0;
  uint64_t waiting = 0;             // records that the journal has not got yet
  supervisor::Standing standing{};  // while it runs
};

Result<Picture> look(const std::string& given) {
  auto directory = state_directory(given);
  if (!directory) return directory.error();
  auto status = store::read_status(*directory);
  if (!status && status.error().code == Errc::not_found)
    return Error{Errc::not_found, *directory + ": there was no run with this state directory yet"};
  if (!status) return status.error();
  auto ring = stream::RingReader::look(stream::ring_path(*directory));
  const uint64_t reported = ring ? ring->counters().last_seq.load() : 0;  // before the journal is read
  auto loaded = load(given);
  if (!loaded) return loaded.error();
  Picture picture{.status = std::move(*status), .loaded = std::move(*loaded)};
  picture.running = store::StateLock::is_taken(*directory);
  if (!picture.running && picture.status.ended == 0) picture.status.state = "killed";
  if (!picture.running) picture.status.paused.clear();
  if (picture.running && picture.status.qemu_pid != 0)
    picture.standing = supervisor::look_at_walls(picture.status, *directory);
  picture.hooks = picture.status.hooks_armed;
  picture.lost = picture.loaded.state.lost();
  if (ring) {
    picture.stops = ring->counters().stops;
    picture.hidden_calls = ring->counters().hidden_calls;
    picture.hidden_pause_ns = ring->counters().hidden_pause_ns;
    if (picture.running) picture.hooks = ring->counters().hooks_armed;
    const uint64_t written = picture.loaded.state.last_seq();
    if (picture.running && reported > written) picture.waiting = reported - written;
  }
  return picture;
}

std::string json_line(const Picture& p) {
  const store::Status& s = p.status;
  const history::History& state = p.loaded.state;
  std::string line;
  store::JsonLine json(line);
  json.text("vm", s.vm);
  json.text("state", s.state);
  json.text("paused", s.paused);
  json.boolean("running", p.running);
  if (p.running) json.number("pid", s.pid);
  if (p.running) {
    json.number("qemu_pid", s.qemu_pid);
    json.list("walls", p.standing.walls);
    json.list("gaps", p.standing.gaps);
  }
  json.text("engine", s.engine);
  json.text("qemu", s.qemu);
  json.text("kernel", s.kernel_release);
  json.text("build_id", s.build_id);
  json.always("hooks_armed", p.hooks);
  if (!s.build_id.empty()) json.text("profile", s.profile_cached ? "cached" : "new");
  json.real("arm_ms", s.arm_ms);
  json.text("started", s.started == 0 ? "" : store::format_time(s.started));
  json.text("ended", s.ended == 0 ? "" : store::format_time(s.ended));
  if (s.exit) json.always("exit", static_cast<uint64_t>(*s.exit));
  json.text("error", s.error);
  json.always("boot", state.boot());
  json.always("events", state.events());
  json.always("last_seq", state.last_seq());
  json.number("waiting", p.waiting);
  json.always("stops", p.stops);
  json.always("hidden_calls", p.hidden_calls);
  json.always("hidden_pause_us", p.hidden_pause_ns / 1000);
  json.always("leaks", state.leaks());
  json.text("sends_refused", state.sends_refused());
  json.always("lost", p.lost);
  json.begin("managed");
  json.always("files", state.present(ObjectType::file));
  json.always("processes", state.present(ObjectType::process));
  json.always("sockets", state.present(ObjectType::socket));
  json.always("pipes", state.present(ObjectType::pipe));
  json.end();
  json.boolean("complete", p.loaded.problems.empty());
  json.list("reasons", p.loaded.problems);
  json.list("warnings", state.warnings());
  json.end();
  return line + "\n";
}

std::string text(const Picture& p) {
  const store::Status& s = p.status;
  const history::History& state = p.loaded.state;
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](std::string key, std::string value) {
    if (!value.empty()) rows.push_back({std::move(key), std::move(value)});
  };
  add("guest", shown(s.vm));
  std::string how = s.state;
  if (p.running) how += fmt::format(" (oboro run is process {})", s.pid);
  if (!p.running && s.exit) how += fmt::format(" (QEMU's exit code {})", *s.exit);
  add("state", shown(how));
  if (!s.paused.empty())
    rows.push_back({"paused", coloured(Colour::yellow, shown(s.paused) + " (oboro resume lets it go on)")});
  add("error", shown(s.error));
  add("started", s.started == 0 ? "" : shown_time(s.started));
  add("ended", s.ended == 0 ? "" : shown_time(s.ended));
  add("engine", shown(s.engine + (s.qemu.empty() ? "" : ", QEMU " + s.qemu)));
  if (!p.standing.walls.empty()) add("QEMU has", shown(fmt::format("{}", fmt::join(p.standing.walls, "; "))));
  for (const auto& gap : p.standing.gaps) rows.push_back({"not walled in", coloured(Colour::yellow, shown(gap))});
  add("kernel", s.kernel_release.empty() ? "" : shown("Linux " + s.kernel_release));
  add("build ID", shown(s.build_id));
  if (!s.build_id.empty())
    add("hooks", fmt::format("{} armed in {:.1f} ms, {} kernel profile", p.hooks, s.arm_ms,
                             s.profile_cached ? "cached" : "new"));
  add("events", fmt::format("{} in the journal,{} {} lost", state.events(),
                            p.waiting ? fmt::format(" {} on their way there,", p.waiting) : "", p.lost));
  if (p.hidden_calls > 0)
    add("hidden", fmt::format("{} calls executed by proxies; {:.3f} s for which a CPU stood still", p.hidden_calls,
                              static_cast<double>(p.hidden_pause_ns) / 1e9));
  if (p.stops > 0) add("stops", fmt::format("{} calls looked at from outside", p.stops));
  add("managed", fmt::format("files {}, processes {}, sockets {}, pipes {}", state.present(ObjectType::file),
                             state.present(ObjectType::process), state.present(ObjectType::socket),
                             state.present(ObjectType::pipe)));
  add("leaks", std::to_string(state.leaks()));
  if (const std::string& why = state.sends_refused(); !why.empty())
    rows.push_back(
        {"sends", coloured(Colour::yellow, "all refused that would leave the guest, because: " + shown(why))});
  if (p.loaded.problems.empty()) add("result", coloured(Colour::green, "complete"));
  for (const auto& problem : p.loaded.problems)
    rows.push_back({&problem == &p.loaded.problems.front() ? "result" : "",
                    coloured(Colour::yellow, "incomplete: " + shown(problem))});
  for (const auto& warning : state.warnings())
    rows.push_back({&warning == &state.warnings().front() ? "warning" : "", coloured(Colour::yellow, shown(warning))});
  return table(rows);
}

int execute(const StatusArguments& arguments) {
  auto picture = look(arguments.directory);
  if (!picture) return fail(picture.error(), kExitFailed);
  print(arguments.json ? json_line(*picture) : text(*picture));
  return finish_output() ? kExitOk : kExitFailed;
}

}  // namespace

void add_status(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("status", "Show the run, and whether its result is complete");
  verb->footer(kStatusFooter);
  auto a = std::make_shared<StatusArguments>();
  verb->add_flag("--json", a->json, "As a JSON object (docs/formats.md)");
  add_state_option(*verb, a->directory);
  verb->callback([a, &exit_code] { exit_code = execute(*a); });
}

}  // namespace oboro::cli
