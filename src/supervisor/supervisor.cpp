#include "supervisor/supervisor.h"

#include <cstdlib>
#include <errno.h>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utility>

#include "base/io_error.h"
#include "link/control.h"
#include "supervisor/guest.h"
#include "supervisor/launch/child.h"
#include "supervisor/launch/kvm_probe.h"
#include "supervisor/loop.h"
#include "supervisor/say.h"

namespace oboro::supervisor {
namespace {

// Restores the terminal, whatever QEMU's console has done to it and however QEMU has ended.
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

// A loop for one guest. SIGINT reaches this process only where QEMU has not made the terminal raw. Then it is meant for
// the whole run.
class Supervisor {
 public:
  explicit Supervisor(Guest& guest) : guest_(guest) {}
  // To be called before QEMU starts. From here on signals wait until they are handled.
  Result<void> set_up() {
    Result<Loop> loop = Loop::create();
    if (!loop) return loop.error();
    loop_.emplace(std::move(*loop));
    Result<Loop::Watch> signals = loop_->signals({SIGINT, SIGTERM, SIGHUP}, [this](int) { guest_.end(); });
    if (!signals) return signals.error();
    signals_ = std::move(*signals);
    return {};
  }
  Result<Ending> watch(Child qemu, Gate gate) {
    if (auto done = guest_.watch(*loop_, std::move(qemu), std::move(gate), [this] { loop_->stop(); }); !done) {
      guest_.give_up(done.error());
      return done.error();
    }
    if (auto done = loop_->run(); !done) {
      guest_.give_up(done.error());
      return done.error();
    }
    return guest_.ending();
  }

 private:
  Guest& guest_;
  std::optional<Loop> loop_;
  Loop::Watch signals_;
};

}  // namespace

Result<Ending> run(const Options& given) {
  if (auto ok = check(given.machine); !ok) return ok.error();
  Options options = given;
  MachineOptions& machine = options.machine;
  if (machine.engine != Engine::tcg) {
    const Result<void> usable = probe_kvm();
    if (!usable && machine.engine == Engine::kvm) return usable.error();
    machine.engine = usable ? Engine::kvm : Engine::tcg;
    if (given.machine.engine == Engine::automatic)
      say(usable ? "engine kvm" : fmt::format("engine tcg: {}", usable.error().message));
  }
  options.walls = is_sandboxed(machine.further, true);
  // The kernel kills our child when we end, unless it has become another user since. This setting has the same effect.
  options.policy.on(policy::Trouble::supervisor_loss) = policy::Reaction::kill;
  Result<std::unique_ptr<Guest>> prepared = Guest::prepare(std::move(options));
  if (!prepared) return prepared.error();
  Guest& guest = **prepared;

  std::optional<QemuUser> user;
  if (takes_a_user(guest.machine()) && geteuid() == 0) {
    Result<QemuUser> taken = QemuUser::take(guest.state_directory());
    if (taken)
      user.emplace(std::move(*taken));
    else
      say(fmt::format("QEMU stays root: {}", taken.error().message));
  }

  const TerminalGuard terminal;
  const Inherited fds = guest.inherited();
  const Command command =
      qemu_command(guest.machine(), guest.disks(), given.parts, fds,
                   user ? user->arguments(guest.version()) : std::vector<std::string>(), terminal.is_terminal());
  Supervisor supervisor(guest);
  if (auto ready = supervisor.set_up(); !ready) return ready.error();
  if (auto begun = guest.begin(); !begun) return begun.error();
  Gate gate;
  Result<Child> child = Child::start(command.words, command.environment, fds.all(), guest.walls(),
                                     guest.machine().engine == Engine::kvm ? &gate : nullptr);
  if (!child) {
    guest.give_up(child.error());
    return child.error();
  }
  return supervisor.watch(std::move(*child), std::move(gate));
}

namespace {

// Descriptors that were left open for QEMU by the program that starts it: its monitor, its network interfaces.
std::vector<int> inherited_descriptors() {
  std::vector<int> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const int fd = atoi(entry.path().filename().c_str());
    if (fd > STDERR_FILENO) found.push_back(fd);
  }
  std::erase_if(found, [](int fd) { return fcntl(fd, F_GETFD) < 0; });  // the descriptor of the listing itself
  return found;
}

// Runs in the supervising process. ready: gets Done when everything is in place, or why it is not. If it ends without
// either, this process is gone.
void supervise(Guest& guest, Child qemu, UniqueFd ready) {
  Supervisor supervisor(guest);
  const auto start = [&]() -> Result<void> {
    if (auto set_up = supervisor.set_up(); !set_up) return set_up;
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null || dup2(null.get(), STDIN_FILENO) < 0 || dup2(null.get(), STDOUT_FILENO) < 0)
      return io_error("/dev/null");
    return guest.begin();
  };
  if (auto started = start(); !started) {
    (void)link::send(ready.get(), link::Failed{started.error().message});
    return;
  }
  // If nobody hears this, there is no QEMU either, and the guest notices that.
  (void)link::send(ready.get(), link::Done{});
  // The process that becomes QEMU closes its end then, if not before.
  Gate gate = Gate::receive(ready.get());
  ready.reset();
  const Result<Ending> ending = supervisor.watch(std::move(qemu), std::move(gate));
  if (!ending) say(ending.error().message);
}

}  // namespace

Error become_qemu(const Options& given, const std::vector<std::string>& arguments) {
  const std::vector<int> qemus = inherited_descriptors();
  Options options = given;
  options.machine.engine = Engine::kvm;
  options.walls = is_sandboxed(arguments, false);
  Result<std::unique_ptr<Guest>> prepared = Guest::prepare(std::move(options));
  if (!prepared) return prepared.error();
  Guest& guest = **prepared;
  Result<Child> self = Child::adopt(getpid());
  if (!self) return self.error();
  int ready[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ready) != 0) return io_error("socketpair");
  UniqueFd ours(ready[0]), supervisors(ready[1]);

  // The supervisor is no child of QEMU's, because QEMU does not expect one.
  const pid_t between = fork();
  if (between < 0) return io_error("fork");
  if (between == 0) {
    setsid();
    const pid_t supervisor = fork();
    if (supervisor != 0) _exit(supervisor < 0 ? 1 : 0);
    // Else they would stay open here after QEMU's end, and a program that waits for the end of its monitor would wait
    // for ours.
    for (const int fd : qemus) close(fd);
    ours.reset();
    supervise(guest, std::move(*self), std::move(supervisors));
    _exit(0);
  }
  int status = 0;
  while (waitpid(between, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return Error{Errc::io, "the supervisor could not be started"};
  // No guest runs without a supervisor that is in place.
  supervisors.reset();
  const Result<link::Message> word = link::receive(ours.get(), -1);
  if (!word) return Error{Errc::io, "the supervisor ended before it was ready; the guest is not started"};
  if (!word->as<link::Done>()) {
    const auto* failed = word->as<link::Failed>();
    return Error{Errc::io,
                 (failed ? failed->why : std::string("the supervisor is not ready")) + "; the guest is not started"};
  }

  const Inherited fds = guest.inherited();
  for (const int fd : fds.all()) fcntl(fd, F_SETFD, 0);
  for (const std::string& variable : kvm_environment(guest.machine(), given.parts, fds))
    putenv(strdup(variable.c_str()));
  if (const Walls* walls = guest.walls(); walls)
    if (const int error = walls->enter(); error != 0) return io_error("walls around QEMU", error);
  (void)Gate::enter(ours.get());
  std::vector<char*> argv{const_cast<char*>(guest.machine().qemu.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  return io_error(guest.machine().qemu);
}

}  // namespace oboro::supervisor
