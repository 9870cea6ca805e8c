// The supervisor's questions to the tracer while the guest runs: any number at once, each with its answer.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>

#include "base/result.h"
#include "link/control.h"
#include "supervisor/loop.h"

namespace oboro::supervisor {

class TracerLine {
 public:
  static constexpr size_t kMostPending = 64;
  using Answer = std::function<void(Result<link::Body>)>;

  // socket: our end of the channel for commands, O_NONBLOCK. Both outlive this.
  TracerLine(Loop& loop, int socket) : loop_(loop), socket_(socket) {}
  // Errors: io.
  Result<void> open();
  // fds go with the request. Calls answer once, perhaps at once. It may get an error: io (the tracer is gone), limit
  // (no answer in time; too many questions).
  void ask(const link::Body& request, Answer answer, std::span<const int> fds = {});

 private:
  struct Pending {
    Answer answer;
    Loop::Watch timer;
  };
  void hear();
  void close();
  void end(uint32_t request, Result<link::Body> result);

  Loop& loop_;
  int socket_;
  Loop::Watch watch_;
  uint32_t last_request_ = 0;
  std::unordered_map<uint32_t, Pending> pending_;
};

}  // namespace oboro::supervisor
