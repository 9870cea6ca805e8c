// The network calls of a hidden service. Its sockets never block here: a call that would have to wait says so, and is
// tried again when its socket is ready (server.h).
//
// Threads: one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "proxy/files.h"
#include "proxy/handles.h"
#include "proxy/network_policy.h"
#include "proxy/wire.h"

namespace oboro::proxy {

struct SocketOption {
  int level, name;
};
// The options that are passed on to the kernel. No others are.
std::span<const SocketOption> socket_options();

// Settings that are kept here, because the kernel's socket must not have them. A listener hands them on.
struct SocketSettings {
  int64_t receive_timeout_us = 0, send_timeout_us = 0;  // 0: for ever
  bool lingers = false;                                 // which would block close(2) here
  int linger_seconds = 0;
  bool error_queue4 = false, error_queue6 = false;  // asked for (IP_RECVERR, IPV6_RECVERR); nothing comes by it
};

struct Socket final : Handle, SocketSettings {
  Socket(UniqueFd fd_, bool stream_) : Handle(Kind::socket, std::move(fd_)), stream(stream_) {}
  const bool stream;                  // TCP; else UDP
  std::optional<Endpoint> peer;       // to which it was connected
  std::vector<std::byte> given_back;  // it comes before the bytes that the kernel has
};

// -errno or 0. call: getsockopt or setsockopt.
int64_t get_option(Socket& socket, const Frame& call, std::vector<std::byte>& out);
int64_t set_option(Socket& socket, const Frame& call);

// How far a waiting call has come.
struct Progress {
  std::vector<std::byte> data;  // of a receive that is to be complete (MSG_WAITALL)
  size_t received = 0;          // by this call: more than `data` where bytes are thrown away (MSG_TRUNC)
  size_t sent = 0;              // of a send
  bool started = false;         // connect
  bool joined = false;          // connect: another call had started it
};

class Sockets {
 public:
  Sockets(NetworkPolicy policy, Handles& handles) : destinations_(std::move(policy)), handles_(handles) {}

  static bool is_socket_call(Op op) { return (op >= Op::ioctl && op <= Op::poll) || op == Op::give_back; }
  // Nothing: the call has to wait until one of its sockets is ready.
  std::optional<Done> attempt(const Frame& call, Progress& progress);
  // The result of a call that waited in vain: -EAGAIN, or what has been done by then.
  static Done timed_out(const Frame& call, Progress& progress);
  // How long a call may wait; 0: for ever.
  int64_t timeout_us(const Frame& call) const;

 private:
  Destinations destinations_;
  Handles& handles_;
};

}  // namespace oboro::proxy
