// The socket `run.sock` in the state directory, by which `oboro` speaks to a run: one request of one line, one answer.
// Only the directory's owner can reach it.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace oboro::supervisor {

class RunSocket {
 public:
  // Takes the place of one that a run before left. Errors: io.
  static Result<RunSocket> listen(const std::string& state_dir);
  ~RunSocket();
  RunSocket(RunSocket&&) noexcept = default;
  RunSocket& operator=(RunSocket&&) = delete;

  int poll_fd() const { return fd_.get(); }
  // One client: its request to `answer`, whose text goes back. Never waits: a client that has not sent its request in
  // the moment of connecting is turned away.
  void serve(const std::function<std::string(std::string_view)>& answer) const;

 private:
  RunSocket(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::string path_;
};

// The other side. Errors: not_found (nothing runs there), io, limit (no answer in time).
Result<std::string> ask_run(const std::string& state_dir, std::string_view request);

}  // namespace oboro::supervisor
