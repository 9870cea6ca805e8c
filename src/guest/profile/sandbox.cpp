#include "guest/profile/sandbox.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <fmt/format.h>
#include <optional>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

namespace oboro::guest {
namespace {

constexpr size_t kMaxOutput = 1 << 20;
constexpr size_t kMaxMessage = 4096;  // of standard error
constexpr int kImageFd = 3;           // in the builder
constexpr int kLowestFd = 10;         // ours are above the numbers that the builder gets, so that none is overwritten
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

  pid_t pid() const { return pid_; }
  // Its wait status, once it has ended.
  std::optional<int> ended() {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR)) return std::nullopt;
    pid_ = -1;
    return ended < 0 ? -1 : status;
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
  sigset_t none, all;  // a thread of the host may block signals, or ignore some
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

// Takes the bytes that are there. False: they are more than the limit.
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

// The first line, harmless to print: a builder that a guest has taken over could send anything to a terminal.
std::string printable_line(std::string_view text) {
  std::string line(text.substr(0, text.find('\n')));
  for (char& c : line)
    if (c < ' ' || c > '~') c = '?';
  return line;
}

Result<Profile> result_of(int status, const std::string& output, const std::string& errors) {
  const std::string message = printable_line(errors);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotTraceable) return Error{Errc::unsupported, message};
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
    return Error{Errc::limit, "profile builder: out of processor time"};
  if (WIFSIGNALED(status))
    return Error{Errc::internal, fmt::format("profile builder: killed by signal {} {}", WTERMSIG(status), message)};
  if (status != 0) return Error{Errc::internal, fmt::format("profile builder: failed: {}", message)};
  return Profile::parse(output);
}

}  // namespace

struct ProfileBuild::Work {
  Work(pid_t pid, UniqueFd out, UniqueFd err)
      : child(pid), output{std::move(out), kMaxOutput}, errors{std::move(err), kMaxMessage} {}
  Result<void> watch(int timeout_ms);
  std::optional<Result<Profile>> proceed();

  Child child;
  Stream output, errors;
  UniqueFd end;  // pidfd
  UniqueFd timer;
  UniqueFd all;  // an epoll of the descriptors above
  std::optional<int> status;
};

Result<void> ProfileBuild::Work::watch(int timeout_ms) {
  end.reset(static_cast<int>(syscall(SYS_pidfd_open, child.pid(), 0)));
  timer.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  all.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!end || !timer || !all) return builder_error("pidfd, timer or epoll", errno);
  itimerspec when{};
  when.it_value.tv_sec = timeout_ms / 1000;
  when.it_value.tv_nsec = timeout_ms % 1000 * 1000000L + 1;  // all zero would be never
  if (timerfd_settime(timer.get(), 0, &when, nullptr) != 0) return builder_error("timer", errno);
  for (const int fd : {output.fd.get(), errors.fd.get(), end.get(), timer.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (epoll_ctl(all.get(), EPOLL_CTL_ADD, fd, &event) != 0) return builder_error("epoll", errno);
  }
  return {};
}

std::optional<Result<Profile>> ProfileBuild::Work::proceed() {
  for (Stream* stream : {&output, &errors})
    if (stream->fd && !drain(*stream)) return Error{Errc::limit, "profile builder: says too much"};
  if (!status && (status = child.ended())) end.reset();  // else it could be read for ever
  if (status && !output.fd && !errors.fd) return result_of(*status, output.text, errors.text);
  uint64_t times;
  if (read(timer.get(), &times, sizeof times) == sizeof times)
    return Error{Errc::limit, "profile builder: out of time"};
  return std::nullopt;
}

ProfileBuild::ProfileBuild(std::unique_ptr<Work> work) : work_(std::move(work)) {}
ProfileBuild::ProfileBuild(ProfileBuild&&) noexcept = default;
ProfileBuild& ProfileBuild::operator=(ProfileBuild&&) noexcept = default;
ProfileBuild::~ProfileBuild() = default;

int ProfileBuild::poll_fd() const { return work_->all.get(); }

Result<ProfileBuild> ProfileBuild::start(int image_fd, Gva base, std::string_view builder_path, int timeout_ms) {
  try {
    const UniqueFd image(fcntl(image_fd, F_DUPFD_CLOEXEC, kLowestFd));
    if (!image) return builder_error("the image", errno);
    auto out = make_pipe();
    if (!out) return out.error();
    auto err = make_pipe();
    if (!err) return err.error();
    const auto pid = spawn(std::string(builder_path), base, image.get(), out->write.get(), err->write.get());
    if (!pid) return pid.error();
    auto work = std::make_unique<Work>(*pid, std::move(out->read), std::move(err->read));
    if (auto watched = work->watch(std::max(timeout_ms, 0)); !watched) return watched.error();
    return ProfileBuild(std::move(work));
  } catch (const std::exception& error) {  // no memory
    return Error{Errc::limit, error.what()};
  }
}

std::optional<Result<Profile>> ProfileBuild::proceed() {
  try {
    return work_->proceed();
  } catch (const std::exception& error) {  // no memory
    return Error{Errc::limit, error.what()};
  }
}

}  // namespace oboro::guest
