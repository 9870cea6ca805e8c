#include "supervisor/launch/child.h"

#include <algorithm>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <string_view>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io_error.h"

namespace oboro::supervisor {

Result<Child> Child::start(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                           const std::vector<int>& inherited, const Walls* walls, Gate* gate) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> variables;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view existing = *variable;
    const std::string_view name = existing.substr(0, existing.find('=') + 1);
    const auto replaces = [&](const std::string& ours) { return ours.starts_with(name); };
    if (std::none_of(environment.begin(), environment.end(), replaces)) variables.push_back(*variable);
  }
  for (const std::string& variable : environment) variables.push_back(const_cast<char*>(variable.c_str()));
  variables.push_back(nullptr);
  int report[2];  // carries errno of a failed exec; closed by a successful one
  if (pipe2(report, O_CLOEXEC) != 0) return Error{Errc::io, fmt::format("pipe: {}", strerror(errno))};
  const UniqueFd from_child(report[0]);
  UniqueFd to_parent(report[1]);
  int gates[2] = {-1, -1};
  if (gate && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gates) != 0) return io_error("socketpair");
  const UniqueFd from_gate(gates[0]);
  UniqueFd to_gate(gates[1]);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return Error{Errc::io, fmt::format("fork: {}", strerror(errno))};
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const int fd : inherited) fcntl(fd, F_SETFD, 0);
    int error = walls ? walls->enter() : 0;
    if (gate) (void)Gate::enter(gates[1]);
    if (error == 0) {
      execve(argv[0], argv.data(), variables.data());
      error = errno;
    }
    (void)!write(report[1], &error, sizeof error);
    _exit(127);
  }
  to_parent.reset();
  to_gate.reset();
  int error = 0;
  ssize_t size;
  do {
    size = read(from_child.get(), &error, sizeof error);
  } while (size < 0 && errno == EINTR);
  if (size == sizeof error) {
    waitpid(pid, nullptr, 0);
    return Error{Errc::io, fmt::format("{}: {}", command[0], strerror(error))};
  }
  if (gate) *gate = Gate::receive(from_gate.get());
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    ::kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return Error{Errc::io, fmt::format("pidfd_open: {}", strerror(errno))};
  }
  return Child(pid, std::move(pidfd), true);
}

Result<Child> Child::adopt(pid_t pid) {
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return Error{Errc::io, fmt::format("pidfd_open: {}", strerror(errno))};
  return Child(pid, std::move(pidfd), false);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), ours_(other.ours_), pidfd_(std::move(other.pidfd_)) {}

Child::~Child() {
  if (pid_ <= 0 || !ours_) return;
  kill();
  wait();
}

// Uses the descriptor: the PID may be another process's by now.
void Child::signal(int number) const { syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0); }

void Child::terminate() const { signal(SIGTERM); }

void Child::kill() const { signal(SIGKILL); }

void Child::stop() const { signal(SIGSTOP); }

void Child::go_on() const { signal(SIGCONT); }

bool Child::ends_within(int timeout_ms) const {
  pollfd ended{pidfd_.get(), POLLIN, 0};
  while (poll(&ended, 1, timeout_ms) < 0 && errno == EINTR) {
  }
  return ended.revents & POLLIN;
}

std::optional<int> Child::wait() {
  if (!ours_) {
    pollfd ended{pidfd_.get(), POLLIN, 0};
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return std::nullopt;
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status;
}

}  // namespace oboro::supervisor
