// The supervisor's requests while the guest runs (link/messages.def, from number 32 on), and the answers of every
// engine.
#pragma once

#include "link/control.h"
#include "tracer/tracer.h"

namespace oboro::tracer {

// Any thread. Takes the descriptors out of the request. An engine that can let its guest go, or stop it and let it go
// on, answers those requests itself.
link::Body answer(Tracer& tracer, link::Message request);

// For a thread that has nothing else to wait for: answers until the supervisor is gone. Blocks.
void serve_commands(Tracer& tracer, int commands);
// Runs serve_commands() on a thread of its own, which gets no signals. tracer and commands must live as long as the
// process.
void start_commands_thread(Tracer& tracer, int commands);

}  // namespace oboro::tracer
