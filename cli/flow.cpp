#include "cli/flow.h"

#include <fmt/format.h>

#include "base/number.h"
#include "cli/output.h"
#include "cli/verbs.h"

namespace oboro::cli {

Result<Named> Named::parse(const std::string& what) {
  Named named;
  named.what_ = what;
  event::ObjectType type{};
  uint64_t id = 0;
  bool good = true;
  if (what.starts_with('@'))
    good = parse_number(std::string_view(what).substr(1), named.seq_) && named.seq_ != 0;
  else if (store::parse_object_id(what, type, id))
    named.key_ = history::object_key(type, id);
  else
    good = what.starts_with('/') || parse_number(what, named.pid_);
  if (good) return named;
  return Error{Errc::invalid, "\"" + what + "\" is neither an absolute path, a PID, an identity such as s12, nor @SEQ"};
}

const history::TrackedObject* Named::find(const history::History& state) const {
  if (key_ != 0) return state.find(key_);
  return what_.starts_with('/') ? state.find_file(what_) : state.find_process(pid_);
}

void Trail::begin() {
  leak_.reset();
  of_ring_.clear();
  seen_.reset();
}

void Trail::saw(const Loaded& loaded, const event::Event& event) {
  const uint64_t order = loaded.state.events();
  const std::pair now(loaded.state.gains(), loaded.state.leaks());
  const bool moved = seen_ != now;
  seen_ = now;
  if (moved && !loaded.reader.place()) of_ring_.emplace(order, event);
  if (leak_seq_ != 0 && !leak_ && event.seq == leak_seq_) leak_.emplace(order, event);
}

Result<Numbered> Trail::leak(Loaded& loaded) const {
  if (leak_seq_ == 0 || !loaded.index) return leak_;
  auto found = loaded.index->find_event(leak_seq_);
  return found && !*found ? leak_ : found;
}

Result<void> Trail::fetch(stream::Reader& reader, const history::Chain::Step& step, Events& out) const {
  if (const auto at = of_ring_.find(step.order); at != of_ring_.end()) out.insert(*at);
  if (step.place == history::kNoPlace || out.contains(step.order)) return {};
  auto event = reader.read_at(step.place);
  if (!event) return event.error();
  out.emplace(step.order, std::move(*event));
  return {};
}

Result<Events> Trail::fetch(stream::Reader& reader, const std::vector<history::Chain>& chains) const {
  Events out;
  for (const auto& chain : chains)
    for (const auto& step : chain.steps)
      if (auto fetched = fetch(reader, step, out); !fetched) return fetched.error();
  return out;
}

Result<Ways> ways_to(Loaded& loaded, const Trail& trail, const Named& named, const Named* origin) {
  Ways ways;
  const auto nothing = [&](std::string why) {
    ways.not_found = std::move(why);
    return ways;
  };
  const auto not_managed = [](const Named& which) {
    return which.what() + ": not managed, as far as the journal tells";
  };
  auto leak = trail.leak(loaded);
  if (!leak) return leak.error();
  if (named.seq() != 0 && !*leak) return nothing(fmt::format("no event has the number {}", named.seq()));
  const history::TrackedObject* const object =
      *leak ? loaded.state.find(history::object_key((*leak)->second.from.type, (*leak)->second.from.id))
            : named.find(loaded.state);
  if (object == nullptr) return nothing(not_managed(named));
  ways.object = loaded.state.describe(*object);
  if (origin == nullptr) {
    ways.chains = loaded.state.explain(*object);
  } else {
    const history::TrackedObject* const from = origin->find(loaded.state);
    if (from == nullptr) return nothing(not_managed(*origin));
    if (from == object && *leak)
      ways.chains = {{.labels = object->labels, .steps = {}, .complete = true}};
    else
      ways.chains = loaded.state.explain_from(*from, *object);
  }
  if (*leak) {
    // The leak is what is asked for: the last step of each chain whose labels it let out.
    std::erase_if(ways.chains, [&](const auto& chain) { return (chain.labels & (*leak)->second.labels) == 0; });
    ways.object = (*leak)->second.object;
  }
  auto events = trail.fetch(loaded.reader, ways.chains);
  if (!events) return events.error();
  ways.events = std::move(*events);
  if (*leak) {
    for (auto& chain : ways.chains) chain.steps.push_back({.order = (*leak)->first});
    ways.events.emplace((*leak)->first, std::move((*leak)->second));
  }
  if (origin != nullptr && ways.chains.empty())
    return nothing(
        fmt::format("nothing came from {} to {}, as far as the journal tells", origin->what(), named.what()));
  return ways;
}

namespace {

void show(const Loaded& loaded, const Ways& ways) {
  for (const auto& chain : ways.chains) {
    print(fmt::format("{}  has label {}\n", shown_object(ways.object),
                      shown_labels(chain.labels, loaded.reader.labels())));
    if (!chain.complete) print("  how it got there first is not known: records are missing\n");
    size_t number = 0;
    for (const auto& step : chain.steps)
      if (const auto at = ways.events.find(step.order); at != ways.events.end())
        print(fmt::format("  {}. {}\n", ++number, shown_step(at->second, loaded.reader.labels())));
  }
}

void show_json(const Loaded& loaded, const Ways& ways) {
  for (const auto& chain : ways.chains) {
    std::string line;
    store::JsonLine json(line);
    json.begin("object");
    store::write_object(json, ways.object);
    json.end();
    json.list("labels", loaded.reader.labels().names(chain.labels));
    json.boolean("complete", chain.complete);
    json.begin_list("events");
    for (const auto& step : chain.steps)
      if (const auto at = ways.events.find(step.order); at != ways.events.end()) {
        json.item();
        store::write_event(at->second, loaded.reader.labels(), loaded.reader.vm(), line);
      }
    json.end_list();
    json.end();
    print(line + "\n");
  }
}

}  // namespace

int show_ways(const std::string& directory, const Named& named, const Named* origin, bool as_json) {
  Trail trail(named.seq());
  Ways found;
  Question question;
  question.begin = [&] { trail.begin(); };
  question.saw = [&](const Loaded& so_far, const event::Event& event) { trail.saw(so_far, event); };
  question.ask = [&](Loaded& loaded) -> Result<void> {
    auto ways = ways_to(loaded, trail, named, origin);
    if (!ways) return ways.error();
    found = std::move(*ways);
    return {};
  };
  auto loaded = load(directory, question);
  if (!loaded) return fail(loaded.error(), kExitFailed);
  if (!found.not_found.empty()) {
    warn(loaded->problems);
    return fail({Errc::not_found, found.not_found}, kExitNotFound);
  }
  (as_json ? show_json : show)(*loaded, found);
  if (!finish_output()) return kExitFailed;
  warn(loaded->problems);
  return kExitOk;
}

}  // namespace oboro::cli
