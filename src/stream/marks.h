// What an event is recognised by that is in the ring and in the journal. Its number alone would not do: a hostile QEMU
// may have had any number written down before.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <tuple>

#include "base/result.h"
#include "event/event.h"

namespace oboro::stream {

using Mark = std::tuple<uint64_t, uint64_t, event::Kind>;
inline Mark mark_of(const event::Event& event) { return {event.seq, event.time_ns, event.kind}; }

// Those of the journal's last events: of more than a run writes at once, before it takes the same from the ring.
// Errors: not_found (no journal), io.
inline constexpr uint64_t kMarkedBytes = 4 << 20;
Result<std::multiset<Mark>> last_marks(const std::string& state_directory);

}  // namespace oboro::stream
