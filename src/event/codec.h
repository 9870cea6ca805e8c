// The binary form of an Event, which crosses from the QEMU process to the journal writer through the ring. The writer
// treats it as hostile: a guest that broke out into QEMU can write anything there.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "event/event.h"

namespace oboro::event {

inline constexpr size_t kMaxEncoded = 80 * 1024;  // no encoding is longer: longer strings are cut to their bound

// Appends the encoding to out. Allocates only if out's capacity is too small: reserve kMaxEncoded once on a vCPU
// thread.
void encode(const Event& event, std::vector<std::byte>& out);
// Errors: invalid (says the offset). Never reads past bytes; every string length is checked.
Result<Event> decode(std::span<const std::byte> bytes);

}  // namespace oboro::event
