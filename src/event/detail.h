// An event's payload as words for people: the JSON member `detail`, and the text that `oboro events` shows. Journals
// from before the payloads had only these words. They are read back here, and nowhere else.
#pragma once

#include <string>
#include <string_view>

#include "event/event.h"

namespace oboro::event {

std::string detail(const Event& event);
std::string what_was_done(const Hidden& hidden);  // without the service's name

// Fills data from the words of an old journal; for an old `exec`, the object, too. Words in no known form are kept as
// the payload's first text.
void adopt_detail(Event& event, std::string_view words);

}  // namespace oboro::event
