#include "supervisor/run_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace oboro::supervisor {
namespace {

constexpr char kName[] = "run.sock";
constexpr size_t kMaxRequest = 4096;
constexpr int kRequestMs = 100;
constexpr int kAnswerMs = 10000;

// A socket's path is short: the directory is named by a descriptor, however long its own path is.
struct Address {
  UniqueFd directory;
  sockaddr_un address{};
};

Result<Address> address_of(const std::string& state_dir) {
  Address result{UniqueFd(open(state_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), {}};
  if (!result.directory) return Error{Errc::io, fmt::format("{}: {}", state_dir, strerror(errno))};
  result.address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}/{}", result.directory.get(), kName);
  path.copy(result.address.sun_path, sizeof result.address.sun_path - 1);
  return result;
}

const sockaddr* generic(const sockaddr_un& address) { return reinterpret_cast<const sockaddr*>(&address); }

bool readable(int fd, int timeout_ms) {
  pollfd wait{fd, POLLIN, 0};
  while (poll(&wait, 1, timeout_ms) < 0)
    if (errno != EINTR) return false;
  return wait.revents != 0;
}

}  // namespace

Result<RunSocket> RunSocket::listen(const std::string& state_dir) {
  Result<Address> at = address_of(state_dir);
  if (!at) return at.error();
  const std::string path = state_dir + "/" + kName;
  unlink(path.c_str());  // the directory is locked: who made it is gone
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || bind(fd.get(), generic(at->address), sizeof at->address) != 0 || ::listen(fd.get(), 4) != 0)
    return Error{Errc::io, fmt::format("{}: {}", path, strerror(errno))};
  return RunSocket(std::move(fd), path);
}

RunSocket::~RunSocket() {
  if (fd_) unlink(path_.c_str());
}

void RunSocket::serve(const std::function<std::string(std::string_view)>& answer) const {
  const UniqueFd client(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client || !readable(client.get(), kRequestMs)) return;
  char request[kMaxRequest];
  const ssize_t size = recv(client.get(), request, sizeof request, 0);
  if (size <= 0) return;
  const std::string text = answer({request, static_cast<size_t>(size)});
  (void)send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

Result<std::string> ask_run(const std::string& state_dir, std::string_view request) {
  Result<Address> at = address_of(state_dir);
  if (!at) return at.error();
  const UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return Error{Errc::io, fmt::format("socket: {}", strerror(errno))};
  if (connect(fd.get(), generic(at->address), sizeof at->address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED)
      return Error{Errc::not_found, fmt::format("nothing runs with the state directory {}", state_dir)};
    return Error{Errc::io, fmt::format("{}/{}: {}", state_dir, kName, strerror(errno))};
  }
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0)
    return Error{Errc::io, fmt::format("{}/{}: {}", state_dir, kName, strerror(errno))};
  if (!readable(fd.get(), kAnswerMs)) return Error{Errc::limit, "the run does not answer"};
  std::string text(kMaxRequest, '\0');
  const ssize_t size = recv(fd.get(), text.data(), text.size(), 0);
  if (size <= 0) return Error{Errc::io, "the run did not answer"};
  text.resize(static_cast<size_t>(size));
  return text;
}

}  // namespace oboro::supervisor
