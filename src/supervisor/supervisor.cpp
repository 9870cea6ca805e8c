#include "supervisor/supervisor.h"

#include <cstdio>
#include <cstdlib>
#include <errno.h>
#include <fcntl.h>
#include <filesystem>
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
#include <vector>

#include "base/io_error.h"
#include "link/control.h"
#include "link/settings.h"
#include "store/status.h"
#include "supervisor/journal_writer.h"
#include "supervisor/kernel_desk.h"
#include "supervisor/launch/child.h"
#include "supervisor/launch/kvm_probe.h"
#include "supervisor/run_socket.h"
#include "supervisor/say.h"

namespace oboro::supervisor {
namespace {

constexpr int kEndGraceMs = 5000;
// From the start of QEMU to its first vCPU: to get all of a large guest's memory beforehand takes minutes. That QEMU
// loads the tracer and is to use KVM is known before; this is for one that does something else all the same.
constexpr uint64_t kMachineTimeoutNs = 600ULL * 1000000000;

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

// What a client of the run's socket asks.
std::string answer(std::string_view request, Engine engine, int commands) {
  if (request != "detach") return "the request is not understood";
  if (engine != Engine::kvm)
    return "only a guest on engine kvm can be let go; with tcg, the tracer ends with the guest";
  const Result<void> sent = link::send_message(commands, 'D', {});
  return sent ? "ok" : sent.error().message;
}

// Everything that a QEMU needs to be traced, and that watching it needs.
struct Prepared {
  Machine machine;
  std::vector<disk::ResolvedDisk> disks;
  std::string engine, version;
  std::unique_ptr<JournalWriter> journal;
  UniqueFd settings, ram;
  UniqueFd control, commands;          // our ends
  UniqueFd control_end, commands_end;  // the tracer's
  Proxies proxies;
  std::optional<RunSocket> socket;
  UniqueFd signal;

  Inherited inherited() const {
    return {ram.get(),          control_end.get(),   settings.get(), journal->producer_fd(),
            commands_end.get(), proxies.tracer_fds()};
  }
};

Result<std::pair<UniqueFd, UniqueFd>> channel() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return io_error("socketpair");
  return std::pair(UniqueFd(pair[0]), UniqueFd(pair[1]));
}

// machine: its engine is decided.
Result<Prepared> prepare(const Options& options, Machine machine, link::SupervisorLoss loss) {
  Prepared p;
  p.engine = machine.engine == Engine::kvm ? "kvm" : "tcg";
  if (machine.qemu.empty()) {
    Result<std::string> found = find_qemu();
    if (!found) return found.error();
    machine.qemu = *found;
  }
  Result<std::string> version = qemu_version(machine.qemu, machine.engine, options.parts);
  if (!version) return version.error();
  p.version = *version;

  Result<std::unique_ptr<JournalWriter>> opened = JournalWriter::open(options.state_dir, machine.vm, options.rules);
  if (!opened) return opened.error();
  p.journal = std::move(*opened);
  // Now that the state directory is ours, and before the guest can write to any of them.
  Result<std::vector<disk::ResolvedDisk>> disks = disk::resolve(machine.disks, options.state_dir);
  if (!disks) return disks.error();
  p.disks = std::move(*disks);
  link::Settings settings = p.journal->settings();
  settings.policy = options.policy;
  settings.capacity = options.capacity;
  settings.on_supervisor_loss = loss;
  settings.wait = options.wait;
  for (const HiddenService& service : options.hidden) settings.services.push_back(service);
  Result<Proxies> proxies = Proxies::start(options.hidden, options.state_dir, options.proxy);
  if (!proxies) return proxies.error();
  p.proxies = std::move(*proxies);
  Result<UniqueFd> settings_file = memory_file("oboro-settings", settings.format());
  if (!settings_file) return settings_file.error();
  p.settings = std::move(*settings_file);
  p.ram.reset(memfd_create("oboro-guest-ram", MFD_CLOEXEC));
  if (!p.ram || ftruncate(p.ram.get(), static_cast<off_t>(machine.memory)) != 0) return io_error("guest RAM");
  for (const auto& [ours, theirs] : {std::pair(&p.control, &p.control_end), std::pair(&p.commands, &p.commands_end)}) {
    Result<std::pair<UniqueFd, UniqueFd>> made = channel();
    if (!made) return made.error();
    *ours = std::move(made->first);
    *theirs = std::move(made->second);
  }
  Result<RunSocket> socket = RunSocket::listen(options.state_dir);
  if (!socket) return socket.error();
  p.socket.emplace(std::move(*socket));
  p.machine = std::move(machine);
  return p;
}

// The run's end, in the journal and in the state directory.
Result<void> finish(const Options& options, Prepared& p, store::Status& status, const std::string& how, bool failed) {
  Result<void> written = p.journal->finish(how);
  status.state = failed ? "failed" : "ended";
  status.ended = stream::now_ns();
  if (failed) status.error = how;
  if (auto saved = store::write_status(options.state_dir, status); !saved && written) written = saved;
  return written;
}

// The run's begin, likewise. Nothing else can fail before the guest may run.
Result<store::Status> begin(const Options& options, Prepared& p) {
  if (auto started = p.journal->start(fmt::format("engine {}, QEMU {}", p.engine, p.version)); !started)
    return started.error();
  store::Status status;
  status.engine = p.engine;
  status.qemu = p.version;
  status.vm = p.machine.vm;
  status.state = "booting";
  status.pid = static_cast<uint64_t>(getpid());
  status.started = stream::now_ns();
  if (auto written = store::write_status(options.state_dir, status); !written) {
    (void)p.journal->finish(written.error().message);
    return written.error();
  }
  return status;
}

// Until QEMU has ended. status: begin()'s.
Result<Ending> watch(const Options& options, Prepared& p, Child& child, store::Status status) {
  JournalWriter& journal = *p.journal;
  p.control_end.reset();
  p.commands_end.reset();
  KernelDesk desk(options.builder, options.allow_untraced, p.control.get(), status, options.state_dir,
                  cache_directory());
  std::optional<Error> failure;
  std::optional<int> wait_status;
  bool control_open = true;
  for (bool running = true; running;) {
    pollfd waits[] = {{child.poll_fd(), POLLIN, 0},
                      {p.signal.get(), POLLIN, 0},
                      {control_open ? p.control.get() : -1, POLLIN, 0},
                      {p.socket->poll_fd(), POLLIN, 0}};
    if (poll(waits, std::size(waits), 500) < 0 && errno != EINTR) failure = io_error("poll");
    if (waits[2].revents & POLLIN) {
      const auto served = desk.serve();
      if (!served) failure = served.error();
      if (served && *served == KernelDesk::Served::tracer_is_gone) control_open = false;  // QEMU is ending
    } else if (waits[2].revents) {
      control_open = false;
    }
    if (waits[3].revents & POLLIN)
      p.socket->serve([&](std::string_view request) { return answer(request, p.machine.engine, p.commands.get()); });
    if (const auto trouble = journal.trouble()) say(*trouble);
    if (const auto what = p.proxies.ended()) {
      // Or the signal that ends us all was for them, too.
      pollfd told{p.signal.get(), POLLIN, 0};
      if (poll(&told, 1, 0) <= 0) {
        say(*what);
        journal.warn(*what);
      }
    }
    if (p.machine.engine == Engine::kvm && !desk.machine_found() &&
        stream::now_ns() - status.started > kMachineTimeoutNs)
      failure = Error{Errc::unsupported, "QEMU runs, but not with KVM: this guest would not be traced"};
    if (failure || (waits[1].revents & POLLIN)) {
      wait_status = child.end(kEndGraceMs);
      running = false;
    } else if (waits[0].revents & POLLIN) {
      wait_status = child.wait();
      running = false;
    }
  }

  // How a process that is not our child ended, nobody tells us.
  const bool clean = !wait_status || (WIFEXITED(*wait_status) && WEXITSTATUS(*wait_status) == 0);
  const std::string how = clean ? std::string("the guest ended")
                          : WIFEXITED(*wait_status)
                              ? fmt::format("QEMU ended with status {}", WEXITSTATUS(*wait_status))
                              : fmt::format("QEMU was ended by signal {}", WTERMSIG(*wait_status));
  if (wait_status && WIFEXITED(*wait_status)) status.exit = WEXITSTATUS(*wait_status);
  const Result<void> written = finish(options, p, status, failure ? failure->message : how, failure || !clean);

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

}  // namespace

Result<Ending> run(const Options& options) {
  if (auto ok = check(options.machine); !ok) return ok.error();
  Machine machine = options.machine;
  if (machine.engine != Engine::tcg) {
    const Result<void> usable = probe_kvm();
    if (!usable && machine.engine == Engine::kvm) return usable.error();
    machine.engine = usable ? Engine::kvm : Engine::tcg;
    if (options.machine.engine == Engine::automatic)
      say(usable ? "engine kvm" : fmt::format("engine tcg: {}", usable.error().message));
  }
  // As our child QEMU is killed when we end; should that ever fail, this is the same.
  Result<Prepared> prepared = prepare(options, std::move(machine), link::SupervisorLoss::kill);
  if (!prepared) return prepared.error();

  const TerminalGuard terminal;
  const Inherited fds = prepared->inherited();
  const Command command = qemu_command(prepared->machine, prepared->disks, options.parts, fds, terminal.is_terminal());
  Result<UniqueFd> signal = signals();
  if (!signal) return signal.error();
  prepared->signal = std::move(*signal);
  Result<store::Status> status = begin(options, *prepared);
  if (!status) return status.error();
  Result<Child> child = Child::start(command.words, command.environment, fds.all());
  if (!child) {
    (void)finish(options, *prepared, *status, child.error().message, true);
    return child.error();
  }
  return watch(options, *prepared, *child, std::move(*status));
}

namespace {

// Descriptors that whoever starts QEMU left open for it: its monitor, its network interfaces.
std::vector<int> inherited_descriptors() {
  std::vector<int> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const int fd = atoi(entry.path().filename().c_str());
    if (fd > STDERR_FILENO) found.push_back(fd);
  }
  std::erase_if(found, [](int fd) { return fcntl(fd, F_GETFD) < 0; });  // the listing's own
  return found;
}

// In the process that supervises. ready: says 'S' when everything is in place, or 'E' and why it is not; its end
// without either says that this process is gone.
void supervise(const Options& options, Prepared& prepared, Child& qemu, UniqueFd ready) {
  const auto start = [&]() -> Result<store::Status> {
    Result<UniqueFd> signal = signals();
    if (!signal) return signal.error();
    prepared.signal = std::move(*signal);
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null || dup2(null.get(), STDIN_FILENO) < 0 || dup2(null.get(), STDOUT_FILENO) < 0)
      return io_error("/dev/null");
    return begin(options, prepared);
  };
  Result<store::Status> status = start();
  if (!status) {
    (void)link::send_message(ready.get(), 'E', status.error().message);
    return;
  }
  // If nobody hears it, there is no QEMU either, and watch() sees that.
  (void)link::send_message(ready.get(), 'S', {});
  ready.reset();
  const Result<Ending> ending = watch(options, prepared, qemu, std::move(*status));
  if (!ending) say(ending.error().message);
}

}  // namespace

Error become_qemu(const Options& options, const std::vector<std::string>& arguments) {
  const std::vector<int> qemus = inherited_descriptors();
  Machine machine = options.machine;
  machine.engine = Engine::kvm;
  const auto usual = options.policy.wants_complete() ? link::SupervisorLoss::pause : link::SupervisorLoss::detach;
  Result<Prepared> prepared = prepare(options, std::move(machine), options.on_supervisor_loss.value_or(usual));
  if (!prepared) return prepared.error();
  Result<Child> self = Child::adopt(getpid());
  if (!self) return self.error();
  Result<std::pair<UniqueFd, UniqueFd>> ready = channel();
  if (!ready) return ready.error();

  // The supervisor is no child of QEMU: QEMU does not expect one.
  const pid_t between = fork();
  if (between < 0) return io_error("fork");
  if (between == 0) {
    setsid();
    const pid_t supervisor = fork();
    if (supervisor != 0) _exit(supervisor < 0 ? 1 : 0);
    // Else they would outlive QEMU here, and whoever waits for the end of its monitor would wait for ours.
    for (const int fd : qemus) close(fd);
    ready->first.reset();
    supervise(options, *prepared, *self, std::move(ready->second));
    _exit(0);
  }
  int status = 0;
  while (waitpid(between, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return Error{Errc::io, "the supervisor could not be started"};
  // No guest without one that is in place.
  ready->second.reset();
  const Result<link::Message> word = link::receive_message(ready->first.get(), -1);
  if (!word) return Error{Errc::io, "the supervisor ended before it was ready; the guest is not started"};
  if (word->type != 'S') return Error{Errc::io, word->payload + "; the guest is not started"};

  const Inherited fds = prepared->inherited();
  for (const int fd : fds.all()) fcntl(fd, F_SETFD, 0);
  for (const std::string& variable : kvm_environment(prepared->machine, options.parts, fds))
    putenv(strdup(variable.c_str()));
  std::vector<char*> argv{const_cast<char*>(prepared->machine.qemu.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  return io_error(prepared->machine.qemu);
}

}  // namespace oboro::supervisor
