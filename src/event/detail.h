// An event's payload as words for people: the JSON member `detail`, and what `oboro events` shows. Journals of before
// the payloads had nothing but these words; what they say is read back from them, here and nowhere else.
#pragma once

#include <string>
#include <string_view>

#include "event/event.h"

namespace oboro::event {

std::string detail(const Event& event);
std::string what_was_done(const Hidden& hidden);  // without the service's name

// Fills data, and of an old `exec` the object too, from the words of an old journal. Words in no known form are kept as
// the payload's first text.
void adopt_detail(Event& event, std::string_view words);

}  // namespace oboro::event
