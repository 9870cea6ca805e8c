#include "supervisor/run_socket.h"

#include <chrono>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <unordered_map>
#include <utility>

namespace oboro::supervisor {
namespace {

constexpr char kName[] = "run.sock";
constexpr size_t kMaxRequest = 4096;
constexpr std::chrono::milliseconds kRequest{1000}, kReply{10000};
constexpr int kAnswerMs = 10000;

// A socket's path must be short. So the directory is named by a descriptor, however long its own path is.
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
  unlink(path.c_str());  // the directory is locked, so the process that made it is gone
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || bind(fd.get(), generic(at->address), sizeof at->address) != 0 || ::listen(fd.get(), 4) != 0)
    return Error{Errc::io, fmt::format("{}: {}", path, strerror(errno))};
  return RunSocket(std::move(fd), path);
}

struct RunSocket::Client {
  UniqueFd fd;
  Loop::Watch request, time;
};

struct RunSocket::Server : std::enable_shared_from_this<RunSocket::Server> {
  explicit Server(Loop& on, Handler what) : loop(on), handler(std::move(what)) {}
  void accept(int fd);
  void hear(uint64_t number);
  void reply(uint64_t number, std::string_view answer);

  Loop& loop;
  Handler handler;
  Loop::Watch watch;
  uint64_t last = 0;
  std::unordered_map<uint64_t, Client> clients;
};

RunSocket::RunSocket(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

RunSocket::~RunSocket() {
  if (fd_) unlink(path_.c_str());
}

Result<void> RunSocket::serve(Loop& loop, Handler handler) {
  auto server = std::make_shared<Server>(loop, std::move(handler));
  Result<Loop::Watch> watch = loop.readable(fd_.get(), [at = server.get(), fd = fd_.get()] { at->accept(fd); });
  if (!watch) return watch.error();
  server->watch = std::move(*watch);
  server_ = std::move(server);
  return {};
}

void RunSocket::Server::accept(int fd) {
  UniqueFd socket(accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket || clients.size() >= kMostClients) return;
  const uint64_t number = ++last;
  Result<Loop::Watch> request = loop.readable(socket.get(), [this, number] { hear(number); });
  Result<Loop::Watch> time = loop.after(kRequest, [this, number] { clients.erase(number); });
  if (request && time)
    clients.insert_or_assign(number, Client{std::move(socket), std::move(*request), std::move(*time)});
}

void RunSocket::Server::hear(uint64_t number) {
  Client& client = clients.at(number);
  char request[kMaxRequest];
  const ssize_t size = recv(client.fd.get(), request, sizeof request, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  Result<Loop::Watch> time = loop.after(kReply, [this, number] { clients.erase(number); });
  if (size <= 0 || !time) {
    clients.erase(number);
    return;
  }
  client.request.drop();
  client.time = std::move(*time);
  ucred peer{};
  socklen_t length = sizeof peer;
  const bool known = getsockopt(client.fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0;
  handler({request, static_cast<size_t>(size)}, known ? Peer{peer.uid} : Peer{},
          [at = weak_from_this(), number](std::string_view answer) {
            if (const auto server = at.lock()) server->reply(number, answer);
          });
}

void RunSocket::Server::reply(uint64_t number, std::string_view answer) {
  const auto client = clients.find(number);
  if (client == clients.end()) return;
  (void)send(client->second.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  clients.erase(client);
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
