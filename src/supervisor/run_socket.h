// The socket `run.sock` in the state directory, by which `oboro` speaks to a run: one request of one word, one answer.
// Only the directory's owner can reach it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "supervisor/loop.h"

namespace oboro::supervisor {

class RunSocket {
 public:
  static constexpr size_t kMostClients = 32;
  // To be called once, at any time: the client waits. Has no effect if that was too long, or if the socket is gone.
  using Reply = std::function<void(std::string_view answer)>;
  // The process that asks, by SO_PEERCRED.
  struct Peer {
    uint32_t uid = UINT32_MAX;
  };
  using Handler = std::function<void(std::string_view request, const Peer& by, Reply reply)>;

  // Replaces a socket that an earlier run has left. Errors: io.
  static Result<RunSocket> listen(const std::string& state_dir);
  ~RunSocket();
  RunSocket(RunSocket&&) noexcept = default;
  RunSocket& operator=(RunSocket&&) = delete;

  // Serves from now on. A client that has not sent its request after a second is turned away. Errors: io.
  Result<void> serve(Loop& loop, Handler handler);

 private:
  struct Client;
  struct Server;
  RunSocket(UniqueFd fd, std::string path);
  UniqueFd fd_;
  std::string path_;
  std::shared_ptr<Server> server_;
};

// The client's side. Errors: not_found (nothing runs there), io, limit (no answer in time).
Result<std::string> ask_run(const std::string& state_dir, std::string_view request);

}  // namespace oboro::supervisor
