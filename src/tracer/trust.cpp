#include "tracer/trust.h"

#include <algorithm>

namespace oboro::tracer {

using policy::Reaction;
using policy::Trouble;

bool Trust::doubt(Trouble trouble, const char* why) {
  const Reaction reaction = policy_.reaction(trouble);
  if (reaction != Reaction::deny && reaction != Reaction::pause) return false;
  const size_t known = reasons_.add(why).index;
  if (known < Reasons::kMost && accepted_[known].load()) return false;
  const char* none = nullptr;
  const bool first = standing_[static_cast<size_t>(trouble)].compare_exchange_strong(none, why);
  // The thread that sets it takes the lock, so a renew() that did not see it is over by then.
  if (first || !carriers_.sends_refused()) renew();
  return reaction == Reaction::pause && !pause_told_[static_cast<size_t>(trouble)].exchange(true);
}

// Sends are refused if any trouble stands.
void Trust::renew() {
  const auto lock = carriers_.lock();
  const auto found = std::find_if(standing_.begin(), standing_.end(), [](const auto& why) { return why.load(); });
  const char* before = carriers_.sends_refused();
  const char* why = found == standing_.end() ? nullptr : found->load();
  // The first reason stays as long as its trouble stands.
  if (before && std::any_of(standing_.begin(), standing_.end(), [&](const auto& one) { return one.load() == before; }))
    return;
  if (before != why) carriers_.refuse_sends(why);
}

void Trust::mended(Trouble trouble) {
  standing_[static_cast<size_t>(trouble)] = nullptr;
  pause_told_[static_cast<size_t>(trouble)] = false;
  renew();
}

void Trust::go_on() {
  for (size_t i = 0; i < Reasons::kMost; ++i)
    if (const char* why = reasons_.at(i)) accepted_[i] = why != kLostRecords && why != labels::kNoJournal;
  for (auto& why : standing_) why = nullptr;
  for (auto& told : pause_told_) told = false;
  renew();
}

}  // namespace oboro::tracer
