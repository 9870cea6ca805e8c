// Makes a tracer from the start words (link/start.h).
#pragma once

#include <memory>

#include "base/result.h"
#include "link/start.h"
#include "tracer/tracer.h"

namespace oboro::tracer {

// Takes over the descriptors. memory must outlive the tracer. Errors: io, invalid (the settings, the ring, a proxy's
// channel).
Result<std::unique_ptr<Tracer>> make_tracer(const engine::PhysicalMemory& memory, const link::Start& start);

}  // namespace oboro::tracer
