// The socket `run.sock` in the state directory, by which `oboro` speaks to a run: one request of one line, one answer.
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
  // Once, at any time: the client waits. Of no effect when that has been too long, or the socket is gone.
  using Reply = std::function<void(std::string_view answer)>;
  // Who asks, by SO_PEERCRED.
  struct Peer {
    uint32_t uid = UINT32_MAX;
  };
  using Handler = std::function<void(std::string_view request, const Peer& by, Reply reply)>;

  // Takes the place of one that a run before left. Errors: io.
  static Result<RunSocket> listen(const std::string& state_dir);
  ~RunSocket();
  RunSocket(RunSocket&&) noexcept = default;
  RunSocket& operator=(RunSocket&&) = delete;

  // From now on. A client that has not sent its request after a second is turned away. Errors: io.
  Result<void> serve(Loop& loop, Handler handler);

 private:
  struct Client;
  struct Server;
  RunSocket(UniqueFd fd, std::string path);
  UniqueFd fd_;
  std::string path_;
  std::shared_ptr<Server> server_;
};

// The other side. Errors: not_found (nothing runs there), io, limit (no answer in time).
Result<std::string> ask_run(const std::string& state_dir, std::string_view request);

}  // namespace oboro::supervisor
