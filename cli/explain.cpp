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
using Numbered = std::optional<std::pair<uint64_t, event::Event>>;

// Watches the events go by. Neither the state nor this object holds them, but for those that have no place in the
// journal yet.
class Trail {
 public:
  explicit Trail(uint64_t leak_seq) : leak_seq_(leak_seq) {}

  void begin() {
    leak_.reset();
    of_ring_.clear();
    gains_.reset();
  }
  void saw(const Loaded& loaded, const event::Event& event) {
    const uint64_t order = loaded.state.events();
    const bool gained = gains_ != loaded.state.gains();
    gains_ = loaded.state.gains();
    if (gained && !loaded.reader.place()) of_ring_.emplace(order, event);
    if (leak_seq_ != 0 && !leak_ && event.seq == leak_seq_) leak_.emplace(order, event);
  }
  // The leak that is asked for. It may be before all events that were seen.
  Result<Numbered> leak(Loaded& loaded) const {
    if (leak_seq_ == 0 || !loaded.index) return leak_;
    auto found = loaded.index->find_event(leak_seq_);
    return found && !*found ? leak_ : found;
  }

  Result<Events> fetch(stream::Reader& reader, const std::vector<history::Chain>& chains) const {
    Events out;
    for (const auto& chain : chains)
      for (const auto& step : chain.steps) {
        if (const auto at = of_ring_.find(step.order); at != of_ring_.end()) out.insert(*at);
        if (step.place == history::kNoPlace || out.contains(step.order)) continue;
        auto event = reader.read_at(step.place);
        if (!event) return event.error();
        out.emplace(step.order, std::move(*event));
      }
    return out;
  }

 private:
  uint64_t leak_seq_;
  std::optional<uint64_t> gains_;
  Events of_ring_;
  Numbered leak_;
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
    for (const auto& step : chain.steps)
      if (const auto at = events.find(step.order); at != events.end())
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
    for (const auto& step : chain.steps)
      if (const auto at = events.find(step.order); at != events.end()) {
        json.item();
        store::write_event(at->second, loaded.reader.labels(), loaded.reader.vm(), line);
      }
    json.end_list();
    json.end();
    print(line + "\n");
  }
}

struct Explained {
  std::string not_found;  // the event that is asked for
  bool is_managed = false;
  event::Object object;
  std::vector<history::Chain> chains;
  Events events;

  // The leak is what is explained: the last step of each chain whose labels it let out.
  void leads_to(uint64_t order, event::Event leak) {
    std::erase_if(chains, [&](const auto& chain) { return (chain.labels & leak.labels) == 0; });
    for (auto& chain : chains) chain.steps.push_back({.order = order});
    object = leak.object;
    events.emplace(order, std::move(leak));
  }
};

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
  Explained found;
  Question question;
  question.begin = [&] { trail.begin(); };
  question.saw = [&](const Loaded& so_far, const event::Event& event) { trail.saw(so_far, event); };
  question.ask = [&](Loaded& loaded) -> Result<void> {
    found = {};
    auto leak = trail.leak(loaded);
    if (!leak) return leak.error();
    const history::TrackedObject* object = nullptr;
    if (*leak) {
      object = loaded.state.find(history::object_key((*leak)->second.from.type, (*leak)->second.from.id));
    } else if (is_leak) {
      found.not_found = fmt::format("no event has the number {}", seq);
    } else if (is_id) {
      object = loaded.state.find(history::object_key(type, id));
    } else {
      object = what.starts_with('/') ? loaded.state.find_file(what) : loaded.state.find_process(pid);
    }
    if (object == nullptr) return {};
    found.is_managed = true;
    found.chains = loaded.state.explain(*object);
    auto events = trail.fetch(loaded.reader, found.chains);
    if (!events) return events.error();
    found.events = std::move(*events);
    found.object = loaded.state.describe(*object);
    if (*leak) found.leads_to((*leak)->first, std::move((*leak)->second));
    return {};
  };
  auto loaded = load(arguments.directory, question);
  if (!loaded) return fail(loaded.error(), kExitFailed);
  if (!found.not_found.empty()) return fail({Errc::not_found, found.not_found}, kExitNotFound);
  if (!found.is_managed) {
    warn(loaded->problems);
    return fail({Errc::not_found, what + ": not managed, as far as the journal tells"}, kExitNotFound);
  }
  (arguments.json ? show_json : show)(*loaded, found.object, found.chains, found.events);
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
