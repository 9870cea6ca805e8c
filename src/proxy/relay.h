// Carries frames between a channel and a byte stream. So a proxy that runs in a machine of its own (init.h) is reached.
// On the host the stream is the socket behind that machine's virtio-serial port. In the machine it is the port.
//
//   tracer = channel = relay = socket = QEMU = port = relay = channel = proxy
//
// Both ends may be an attacker's. The relay looks only at a frame's form, and holds at most a few frames in each
// direction: an end that does not take its frames holds up nobody but itself.
//
// Threads: one.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "proxy/channel.h"

namespace oboro::proxy {

// The byte by which a machine's relay says that its proxy is there. It comes before the first frame.
inline constexpr char kReady = 'R';

// The exit status of `oboro-proxy relay` if the proxy in the machine was killed by its seccomp filter (init.h).
inline constexpr int kProxyWasTakenOver = 3;

// Runs until the stream's other end is closed, or `end` is readable or closed. The stream is set not to block. Errors:
// io; invalid (one of the two sent something that is no frame).
Result<void> relay(Channel channel, UniqueFd stream, int end);

}  // namespace oboro::proxy
