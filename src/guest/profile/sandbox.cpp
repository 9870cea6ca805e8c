#include "guest/profile/sandbox.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <fmt/format.h>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

namespace oboro::guest {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxOutput = 1 << 20;
constexpr size_t kMaxMessage = 4096;  // of standard error
constexpr int kImageFd = 3;           // in the builder
constexpr int kLowestFd = 10;         // ours are kept above the ones that the builder gets, so that none is overwritten
constexpr int kNotTraceable = 3;

Error builder_error(std::string_view what, int error) {
  return {Errc::io, fmt::format("profile builder: {}: {}", what, std::strerror(error))};
}

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> fds{};
  if (pipe2(fds.data(), O_CLOEXEC) != 0) return builder_error("pipe", errno);
  const UniqueFd read(fds[0]), write(fds[1]);
  Pipe pipe{UniqueFd(fcntl(read.get(), F_DUPFD_CLOEXEC, kLowestFd)),
            UniqueFd(fcntl(write.get(), F_DUPFD_CLOEXEC, kLowestFd))};
  if (!pipe.read || !pipe.write) return builder_error("pipe", errno);
  if (fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK) != 0) return builder_error("pipe", errno);
  return pipe;
}

// The builder's process: killed and waited for when it goes out of scope.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  // Its wait status; nothing if it has not ended by then.
  std::optional<int> wait(Clock::time_point deadline) {
    while (true) {
      int status = 0;
      const pid_t ended = waitpid(pid_, &status, WNOHANG);
      if (ended == pid_ || (ended < 0 && errno != EINTR)) {
        pid_ = -1;
        return ended < 0 ? -1 : status;
      }
      if (Clock::now() >= deadline) return std::nullopt;
      poll(nullptr, 0, 1);
    }
  }

 private:
  pid_t pid_;
};

struct SpawnSettings {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  SpawnSettings() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
};

Result<pid_t> spawn(const std::string& builder, Gva base, int image, int output, int errors) {
  SpawnSettings settings;
  posix_spawn_file_actions_addopen(&settings.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&settings.files, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&settings.files, errors, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&settings.files, image, kImageFd);
  posix_spawn_file_actions_addclosefrom_np(&settings.files, kImageFd + 1);
  sigset_t none, all;  // a host thread may block signals, or ignore some
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&settings.attributes, &none);
  posix_spawnattr_setsigdefault(&settings.attributes, &all);
  posix_spawnattr_setflags(&settings.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::string program = builder, fd = std::to_string(kImageFd), address = fmt::format("{:x}", base.value);
  const std::array<char*, 4> arguments = {program.data(), fd.data(), address.data(), nullptr};
  const std::array<char*, 1> environment = {nullptr};
  pid_t pid = -1;
  const int error =
      posix_spawn(&pid, builder.c_str(), &settings.files, &settings.attributes, arguments.data(), environment.data());
  if (error != 0) return builder_error(builder, error);
  return pid;
}

struct Stream {
  UniqueFd fd;
  size_t limit;
  std::string text{};
};

// Takes what is there. False: more than the limit.
bool drain(Stream& stream) {
  std::array<char, 16384> buffer;
  while (true) {
    const ssize_t got = read(stream.fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) {
      stream.fd.reset();
      return true;
    }
    if (static_cast<size_t>(got) > stream.limit - stream.text.size()) return false;
    stream.text.append(buffer.data(), static_cast<size_t>(got));
  }
}

Result<void> read_both(Stream& output, Stream& errors, Clock::time_point deadline) {
  while (output.fd || errors.fd) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    std::array<pollfd, 2> polled = {pollfd{output.fd.get(), POLLIN, 0}, pollfd{errors.fd.get(), POLLIN, 0}};
    const int ready = left > 0 ? poll(polled.data(), polled.size(), static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return builder_error("poll", errno);
    if (ready == 0) return Error{Errc::limit, "profile builder: out of time"};
    if ((polled[0].revents && !drain(output)) || (polled[1].revents && !drain(errors)))
      return Error{Errc::limit, "profile builder: says too much"};
  }
  return {};
}

// The first line, harmless to print: a builder that a guest has taken over could send a terminal anything.
std::string printable_line(std::string_view text) {
  std::string line(text.substr(0, text.find('\n')));
  for (char& c : line)
    if (c < ' ' || c > '~') c = '?';
  return line;
}

Result<Profile> run(int image_fd, Gva base, std::string_view builder_path, int timeout_ms) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(std::max(timeout_ms, 0));
  const UniqueFd image(fcntl(image_fd, F_DUPFD_CLOEXEC, kLowestFd));
  if (!image) return builder_error("the image", errno);
  auto out = make_pipe();
  if (!out) return out.error();
  auto err = make_pipe();
  if (!err) return err.error();
  const auto pid = spawn(std::string(builder_path), base, image.get(), out->write.get(), err->write.get());
  if (!pid) return pid.error();
  Child child(*pid);
  out->write.reset();
  err->write.reset();

  Stream output{std::move(out->read), kMaxOutput}, errors{std::move(err->read), kMaxMessage};
  if (const auto read = read_both(output, errors, deadline); !read) return read.error();
  const auto status = child.wait(deadline);
  if (!status) return Error{Errc::limit, "profile builder: out of time"};
  const std::string message = printable_line(errors.text);
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == kNotTraceable) return Error{Errc::unsupported, message};
  if (WIFSIGNALED(*status) && WTERMSIG(*status) == SIGXCPU)
    return Error{Errc::limit, "profile builder: out of processor time"};
  if (WIFSIGNALED(*status))
    return Error{Errc::internal, fmt::format("profile builder: killed by signal {} {}", WTERMSIG(*status), message)};
  if (*status != 0) return Error{Errc::internal, fmt::format("profile builder: failed: {}", message)};
  return Profile::parse(output.text);
}

}  // namespace

Result<Profile> build_profile_sandboxed(int image_fd, Gva base, std::string_view builder_path, int timeout_ms) {
  try {
    return run(image_fd, base, builder_path, timeout_ms);
  } catch (const std::exception& error) {  // no memory
    return Error{Errc::limit, error.what()};
  }
}

}  // namespace oboro::guest
