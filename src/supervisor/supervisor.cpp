#include "supervisor/supervisor.h"

#include <cstdio>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utility>

#include "guest/profile/cache.h"
#include "guest/profile/sandbox.h"
#include "session/control.h"
#include "session/settings.h"
#include "store/status.h"
#include "supervisor/child.h"
#include "supervisor/journal_writer.h"
#include "supervisor/kvm_probe.h"
#include "supervisor/run_socket.h"

namespace oboro::supervisor {
namespace {

constexpr int kProfileTimeoutMs = 20000;
constexpr int kEndGraceMs = 5000;

Error io_error(std::string_view what) { return {Errc::io, fmt::format("{}: {}", what, strerror(errno))}; }

void say(std::string_view message) { fmt::print(stderr, "oboro: {}\n", message); }

Result<UniqueFd> memory_file(const char* name, std::string_view content) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return io_error(name);
  if (!write_all(fd.get(), content)) return io_error(name);
  return fd;
}

// The terminal as it was, whatever QEMU's console made of it and however QEMU ended.
class TerminalGuard {
 public:
  TerminalGuard() : saved_(tcgetattr(STDIN_FILENO, &settings_) == 0) {}
  ~TerminalGuard() {
    if (saved_) tcsetattr(STDIN_FILENO, TCSANOW, &settings_);
  }
  bool is_terminal() const { return saved_; }

 private:
  termios settings_{};
  bool saved_;
};

// SIGINT, SIGTERM and SIGHUP as something to poll. SIGINT reaches this process only where QEMU has not made the
// terminal raw; then it is meant for the whole run.
Result<UniqueFd> signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd) return io_error("signalfd");
  return fd;
}

// Answers the tracer's questions about kernels.
class KernelDesk {
 public:
  KernelDesk(const Options& options, int socket, store::Status& status, const std::string& state_dir)
      : options_(options), socket_(socket), status_(status), state_dir_(state_dir), cache_(cache_directory()) {}

  // One message. Errors end the run.
  Result<void> serve();
  bool untraceable() const { return untraceable_; }
  bool was_armed() const { return was_armed_; }

 private:
  // A kernel that the tracer has met, while its profile is in doubt.
  struct Kernel {
    std::string key;
    Gva base;
    UniqueFd image;
    std::string cached;  // the profile's text
  };

  Result<void> identify(session::Message& message);
  Result<void> armed(std::string_view payload);
  Result<void> verify(const Kernel& kernel);
  Result<guest::Profile> build(const Kernel& kernel) const;
  void remember(const Kernel& kernel, const guest::Profile& profile) const;

  const Options& options_;
  int socket_;
  store::Status& status_;
  const std::string& state_dir_;
  guest::ProfileCache cache_;
  bool untraceable_ = false;
  bool was_armed_ = false;
  std::optional<Kernel> doubtful_;
};

Result<void> KernelDesk::serve() {
  Result<session::Message> message = session::receive_message(socket_, 0);
  if (!message) return message.error();
  switch (message->type) {
    case 'K':
      return identify(*message);
    case 'A': {
      was_armed_ = true;
      if (auto understood = armed(message->payload); !understood) return understood;
      if (auto written = store::write_status(state_dir_, status_); !written) return written;
      const std::optional<Kernel> kernel = std::exchange(doubtful_, std::nullopt);
      return kernel ? verify(*kernel) : Result<void>();
    }
    case 'D': {
      status_.state = "detached";
      say(fmt::format("the guest runs on untraced: {}", message->payload));
      return store::write_status(state_dir_, status_);
    }
    case 'R': {
      status_.state = "booting";
      return store::write_status(state_dir_, status_);
    }
    case 'U': {
      status_.error = message->payload;
      if (options_.allow_untraced) {
        say(fmt::format("NOT TRACED: {}. The guest runs on untraced, as --allow-untraced asks for.", message->payload));
        status_.state = "untraced";
        if (auto written = store::write_status(state_dir_, status_); !written) say(written.error().message);
        return session::send_message(socket_, 'C', {});
      }
      untraceable_ = true;
      return Error{Errc::unsupported,
                   fmt::format("this guest cannot be traced: {}. It was stopped before any program in it ran "
                               "(--allow-untraced would run it untraced).",
                               message->payload)};
    }
    default:
      return Error{Errc::invalid, "the tracer sent a message that is not understood"};
  }
}

// Lines: release, build ID, hooks, 1 if the profile was cached, milliseconds.
Result<void> KernelDesk::armed(std::string_view payload) {
  std::vector<std::string> lines;
  while (!payload.empty()) {
    const size_t end = payload.find('\n');
    lines.emplace_back(payload.substr(0, end));
    payload = end == std::string_view::npos ? std::string_view() : payload.substr(end + 1);
  }
  if (lines.size() != 5) return Error{Errc::invalid, "the tracer sent a message that is not understood"};
  status_.state = "tracing";
  status_.kernel_release = lines[0];
  status_.build_id = lines[1];
  status_.hooks_armed = strtoull(lines[2].c_str(), nullptr, 10);
  status_.profile_cached = lines[3] == "1";
  status_.arm_ms = strtod(lines[4].c_str(), nullptr);
  return {};
}

Result<void> KernelDesk::identify(session::Message& message) {
  const size_t space = message.payload.find(' ');
  char* end = nullptr;
  const std::string base_text = space == std::string::npos ? std::string() : message.payload.substr(space + 1);
  const uint64_t base = strtoull(base_text.c_str(), &end, 16);
  if (!message.fd || base_text.empty() || *end)
    return session::send_message(socket_, 'E', "malformed question about a kernel");
  Kernel kernel{message.payload.substr(0, space), Gva(base), std::move(message.fd), {}};
  if (const auto cached = kernel.key.empty() ? std::nullopt : cache_.load(kernel.key)) {
    kernel.cached = cached->format();
    doubtful_ = std::move(kernel);
    return session::send_message(socket_, 'P', doubtful_->cached);
  }
  Result<guest::Profile> profile = build(kernel);
  if (!profile) return session::send_message(socket_, 'E', profile.error().message.substr(0, 4096));
  remember(kernel, *profile);
  return session::send_message(socket_, 'N', profile->format());
}

Result<guest::Profile> KernelDesk::build(const Kernel& kernel) const {
  return guest::build_profile_sandboxed(kernel.image.get(), kernel.base, options_.builder, kProfileTimeoutMs);
}

void KernelDesk::remember(const Kernel& kernel, const guest::Profile& profile) const {
  if (kernel.key.empty()) return;  // nothing to know it by
  if (auto stored = cache_.store(kernel.key, profile); !stored)
    say(fmt::format("the kernel's profile is not cached: {}", stored.error().message));
}

// A build ID is only what a kernel says of itself: another guest, with a kernel that lies, may have filled the cache.
// So what was cached is held against this kernel's own tables, while the guest runs already.
Result<void> KernelDesk::verify(const Kernel& kernel) {
  const Result<guest::Profile> profile = build(kernel);
  if (profile && profile->format() == kernel.cached) return {};
  if (!profile)
    return Error{
        profile.error().code,
        fmt::format("this guest's kernel is not the one that its build ID stands for: {}", profile.error().message)};
  remember(kernel, *profile);
  return Error{Errc::invalid,
               "the cached profile of this kernel was another kernel's with the same build ID. It has been replaced; "
               "the guest was ended, as it was not traced rightly: start it again"};
}

// What a client of the run's socket asks.
std::string answer(std::string_view request, Engine engine, int commands) {
  if (request != "detach") return "the request is not understood";
  if (engine != Engine::kvm) return "only a guest on engine kvm can be let go; with tcg, the tracer ends with the guest";
  const Result<void> sent = session::send_message(commands, 'D', {});
  return sent ? "ok" : sent.error().message;
}

}  // namespace

Result<Ending> run(const Options& options) {
  if (auto ok = check(options.machine); !ok) return ok.error();
  Machine machine = options.machine;
  if (machine.qemu.empty()) {
    Result<std::string> found = find_qemu();
    if (!found) return found.error();
    machine.qemu = *found;
  }
  if (machine.engine != Engine::tcg) {
    const Result<void> usable = probe_kvm();
    if (!usable && machine.engine == Engine::kvm) return usable.error();
    machine.engine = usable ? Engine::kvm : Engine::tcg;
    if (options.machine.engine == Engine::automatic)
      say(usable ? "engine kvm" : fmt::format("engine tcg: {}", usable.error().message));
  }
  const std::string engine = machine.engine == Engine::kvm ? "kvm" : "tcg";
  Result<std::string> version = qemu_version(machine.qemu, machine.engine);
  if (!version) return version.error();

  Result<std::unique_ptr<JournalWriter>> opened = JournalWriter::open(options.state_dir, machine.vm, options.rules);
  if (!opened) return opened.error();
  JournalWriter& journal = **opened;

  session::Settings settings = journal.settings();
  settings.deny_leaks = options.deny_leaks;
  Result<UniqueFd> settings_file = memory_file("oboro-settings", settings.format());
  if (!settings_file) return settings_file.error();
  UniqueFd ram(memfd_create("oboro-guest-ram", MFD_CLOEXEC));
  if (!ram || ftruncate(ram.get(), static_cast<off_t>(machine.memory)) != 0) return io_error("guest RAM");
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return io_error("socketpair");
  const UniqueFd control(pair[0]);
  UniqueFd tracer_end(pair[1]);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return io_error("socketpair");
  const UniqueFd commands(pair[0]);
  UniqueFd commands_end(pair[1]);
  const Result<RunSocket> socket = RunSocket::listen(options.state_dir);
  if (!socket) return socket.error();

  const TerminalGuard terminal;
  const Inherited fds{ram.get(), tracer_end.get(), settings_file->get(), journal.producer_fd(), commands_end.get()};
  const Result<Command> command = qemu_command(machine, options.parts, fds, terminal.is_terminal());
  if (!command) return command.error();
  Result<UniqueFd> signal = signals();
  if (!signal) return signal.error();

  store::Status status;
  status.engine = engine;
  status.qemu = *version;
  status.vm = machine.vm;
  status.state = "booting";
  Result<Child> child = Child::start(command->words, command->environment, {fds.ram, fds.control, fds.settings, fds.ring, fds.commands});
  if (!child) return child.error();
  tracer_end.reset();
  commands_end.reset();
  status.pid = static_cast<uint64_t>(getpid());
  status.started = store::now_ns();
  if (auto written = store::write_status(options.state_dir, status); !written) return written.error();
  if (auto started = journal.start(fmt::format("engine {}, QEMU {}", engine, *version)); !started) return started.error();

  KernelDesk desk(options, control.get(), status, options.state_dir);
  std::optional<Error> failure;
  int wait_status = 0;
  bool control_open = true;
  for (bool running = true; running;) {
    pollfd waits[] = {{child->poll_fd(), POLLIN, 0},
                      {signal->get(), POLLIN, 0},
                      {control_open ? control.get() : -1, POLLIN, 0},
                      {socket->poll_fd(), POLLIN, 0}};
    if (poll(waits, std::size(waits), 500) < 0 && errno != EINTR) failure = io_error("poll");
    if (waits[2].revents & POLLIN) {
      if (auto served = desk.serve(); !served) {
        if (served.error().code == Errc::io)
          control_open = false;  // QEMU is ending
        else
          failure = served.error();
      }
    } else if (waits[2].revents) {
      control_open = false;
    }
    if (waits[3].revents & POLLIN)
      socket->serve([&](std::string_view request) { return answer(request, machine.engine, commands.get()); });
    if (const auto trouble = journal.trouble()) say(*trouble);
    if (failure || (waits[1].revents & POLLIN)) {
      wait_status = child->end(kEndGraceMs);
      running = false;
    } else if (waits[0].revents & POLLIN) {
      wait_status = child->wait();
      running = false;
    }
  }

  const bool clean = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
  const std::string how = clean                    ? std::string("the guest ended")
                          : WIFEXITED(wait_status) ? fmt::format("QEMU ended with status {}", WEXITSTATUS(wait_status))
                                                   : fmt::format("QEMU was ended by signal {}", WTERMSIG(wait_status));
  Result<void> written = journal.finish(failure ? failure->message : how);
  status.state = failure || !clean ? "failed" : "ended";
  status.ended = store::now_ns();
  if (WIFEXITED(wait_status)) status.exit = WEXITSTATUS(wait_status);
  if (failure || !clean) status.error = failure ? failure->message : how;
  if (auto saved = store::write_status(options.state_dir, status); !saved && written) written = saved;

  if (failure) {
    if (!desk.untraceable()) return *failure;
    say(failure->message);
    return Ending::not_traceable;
  }
  if (!written) return written.error();
  if (clean) return Ending::guest_ended;
  say(desk.was_armed() ? how : how + " before the guest could be traced");
  return Ending::failed;
}

}  // namespace oboro::supervisor
