// oboro explain: how classified information came to a file or process.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/number.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "store/json.h"

namespace oboro::cli {
namespace {

constexpr char kExplainFooter[] = R"(Examples:
  oboro explain /tmp/copy.txt
  oboro explain 812          the latest managed process with this PID
  oboro explain s12          an object by its identity, as oboro list shows it
  oboro explain @57          a leak, by the number of its event

Exit status: 0 shown; 1 something failed; 2 usage; 4 it is not managed.)";

struct ExplainArguments {
  std::string directory;
  std::string what;
  bool json = false;
};

using Events = std::unordered_map<uint64_t, event::Event>;  // by their place among all

// Watches the events go by, once. Neither the state nor this object holds them. It notes where the events stand that
// gave an object a label: that is enough to fetch the few that a chain names.
class Trail {
 public:
  explicit Trail(uint64_t leak_seq) : leak_seq_(leak_seq) {}

  void saw(const Loaded& loaded, const event::Event& event) {
    const uint64_t order = loaded.state.events();
    if (std::exchange(gains_, loaded.state.gains()) != loaded.state.gains()) keep(order, loaded.reader.place(), event);
    if (leak_seq_ != 0 && !leak_ && event.seq == leak_seq_) leak_.emplace(order, event);
  }
  const std::optional<std::pair<uint64_t, event::Event>>& leak() const { return leak_; }

  Result<Events> fetch(stream::Reader& reader, const std::vector<history::Chain>& chains) const {
    Events out;
    if (leak_) out.emplace(leak_->first, leak_->second);
    for (const auto& chain : chains)
      for (const uint64_t order : chain.orders) {
        if (const auto at = of_ring_.find(order); at != of_ring_.end()) out.insert(*at);
        const auto at = places_.find(order);
        if (at == places_.end() || out.contains(order)) continue;
        auto event = reader.read_at(at->second);
        if (!event) return event.error();
        out.emplace(order, std::move(*event));
      }
    return out;
  }

 private:
  void keep(uint64_t order, std::optional<uint64_t> place, const event::Event& event) {
    if (place) {
      places_.emplace(order, *place);
    } else {
      of_ring_.emplace(order, event);
    }
  }

  uint64_t leak_seq_;
  uint64_t gains_ = 0;
  std::unordered_map<uint64_t, uint64_t> places_;  // the places of the lines, by the event's place among all
  Events of_ring_;
  std::optional<std::pair<uint64_t, event::Event>> leak_;
};

std::string step_line(size_t number, const event::Event& event, const store::LabelNames& labels) {
  return fmt::format("  {}. {}  {}\n", number, shown_time(event.time_ns),
                     coloured(colour_of(event), shown_event(event, labels)));
}

void show(const Loaded& loaded, const event::Object& object, const std::vector<history::Chain>& chains,
          const Events& events) {
  for (const auto& chain : chains) {
    print(fmt::format("{}  has label {}\n", shown_object(object), shown_labels(chain.labels, loaded.reader.labels())));
    if (!chain.complete) print("  how it got there first is not known: records are missing\n");
    size_t number = 0;
    for (const uint64_t order : chain.orders)
      if (const auto at = events.find(order); at != events.end())
        print(step_line(++number, at->second, loaded.reader.labels()));
  }
}

void show_json(const Loaded& loaded, const event::Object& object, const std::vector<history::Chain>& chains,
               const Events& events) {
  for (const auto& chain : chains) {
    std::string line;
    store::JsonLine json(line);
    json.begin("object");
    store::write_object(json, object);
    json.end();
    json.list("labels", loaded.reader.labels().names(chain.labels));
    json.boolean("complete", chain.complete);
    json.begin_list("events");
    for (const uint64_t order : chain.orders)
      if (const auto at = events.find(order); at != events.end()) {
        json.item();
        store::write_event(at->second, loaded.reader.labels(), loaded.reader.vm(), line);
      }
    json.end_list();
    json.end();
    print(line + "\n");
  }
}

int execute(const ExplainArguments& arguments) {
  const std::string& what = arguments.what;
  uint32_t pid = 0;
  uint64_t seq = 0;
  event::ObjectType type{};
  uint64_t id = 0;
  const bool is_leak = what.starts_with('@');
  const bool is_id = store::parse_object_id(what, type, id);
  if (is_leak ? !parse_number(std::string_view(what).substr(1), seq)
              : !what.starts_with('/') && !is_id && !parse_number(what, pid))
    return fail(
        {Errc::invalid, "\"" + what + "\" is neither an absolute path, a PID, an identity such as s12, nor @SEQ"},
        kExitUsage);

  Trail trail(seq);
  auto loaded = load(arguments.directory, [&](const Loaded& so_far, const event::Event& e) { trail.saw(so_far, e); });
  if (!loaded) return fail(loaded.error(), kExitFailed);
  const history::TrackedObject* object = nullptr;
  if (is_leak) {
    if (!trail.leak()) return fail({Errc::not_found, fmt::format("no event has the number {}", seq)}, kExitNotFound);
    const event::Object& from = trail.leak()->second.from;
    object = loaded->state.find(history::object_key(from.type, from.id));
  } else if (is_id) {
    object = loaded->state.find(history::object_key(type, id));
  } else {
    object = what.starts_with('/') ? loaded->state.find_file(what) : loaded->state.find_process(pid);
  }
  if (object == nullptr) {
    warn(loaded->problems);
    return fail({Errc::not_found, what + ": not managed, as far as the journal tells"}, kExitNotFound);
  }
  std::vector<history::Chain> chains = loaded->state.explain(*object);
  if (is_leak) {
    std::erase_if(chains, [&](const auto& chain) { return (chain.labels & trail.leak()->second.labels) == 0; });
    for (auto& chain : chains) chain.orders.push_back(trail.leak()->first);
  }
  auto events = trail.fetch(loaded->reader, chains);
  if (!events) return fail(events.error(), kExitFailed);
  const event::Object described = is_leak ? trail.leak()->second.object : loaded->state.describe(*object);
  (arguments.json ? show_json : show)(*loaded, described, chains, *events);
  if (!finish_output()) return kExitFailed;
  warn(loaded->problems);
  return kExitOk;
}

}  // namespace

void add_explain(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("explain", "Show how classified information came to a file, process or socket");
  verb->footer(kExplainFooter);
  auto a = std::make_shared<ExplainArguments>();
  verb->add_option("what", a->what, "PATH in the guest, PID, identity, or @SEQ of a leak")->required()->type_name("");
  verb->add_flag("--json", a->json, "One JSON object per way that labels came");
  add_state_option(*verb, a->directory);
  verb->callback([a, &exit_code] { exit_code = execute(*a); });
}

}  // namespace oboro::cli
