// The supervisor's requests while the guest runs (link/messages.def, from number 32 on), and the answers of every
// engine.
#pragma once

#include "link/control.h"
#include "tracer/tracer.h"

namespace oboro::tracer {

// Any thread: only the tracer's atomic members are touched. An engine that can let its guest go answers Detach itself.
link::Body answer(const Tracer& tracer, const link::Body& request);

// For a thread that has nothing else to wait for: answers until the supervisor is gone. Blocks.
void serve_commands(const Tracer& tracer, int commands);
// Runs serve_commands() on a thread of its own, which gets no signals. tracer and commands must live as long as the
// process.
void start_commands_thread(const Tracer& tracer, int commands);

}  // namespace oboro::tracer
