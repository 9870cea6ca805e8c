// Carries frames between a channel and a byte stream: how a proxy that runs in a machine of its own (init.h) is
// reached. On the host the stream is the socket behind that machine's virtio-serial port; in the machine it is the
// port.
//
//   tracer = channel = relay = socket = QEMU = port = relay = channel = proxy
//
// Both ends may be an attacker's. A frame is looked at for its form only, and at most a few are held in each direction:
// who does not take what is his holds up nobody but himself.
//
// Threads: one.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "proxy/channel.h"

namespace oboro::proxy {

// The byte by which a machine's relay says that its proxy is there; before the first frame.
inline constexpr char kReady = 'R';

// Until the stream's other end is closed or `end` is readable or closed; the stream is set not to block.
// Errors: io; invalid (one of the two sent what is no frame).
Result<void> relay(Channel channel, UniqueFd stream, int end);

}  // namespace oboro::proxy
