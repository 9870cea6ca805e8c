// What the supervisor asks while the guest runs (link/messages.def, from number 32 on), and what every engine answers.
#pragma once

#include "link/control.h"
#include "tracer/tracer.h"

namespace oboro::tracer {

// Any thread: of the tracer, only what is atomic is touched. An engine that can let its guest go answers Detach itself.
link::Body answer(const Tracer& tracer, const link::Body& request);

// For an engine that has nothing else to wait for: answers until the supervisor is gone. Blocks.
void serve_commands(const Tracer& tracer, int commands);
// The same on a thread of its own, which gets no signals. tracer and commands outlive the process.
void start_commands_thread(const Tracer& tracer, int commands);

}  // namespace oboro::tracer
