#include "supervisor/guest.h"

#include <array>
#include <chrono>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/io_error.h"
#include "labels/carriers.h"
#include "supervisor/say.h"

namespace oboro::supervisor {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kEndGrace{5000};

Result<UniqueFd> memory_file(const char* name, std::string_view content) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return io_error(name);
  if (!write_all(fd.get(), content)) return io_error(name);
  return fd;
}

// Our end never waits for a tracer that does not read.
Result<void> channel(UniqueFd& ours, UniqueFd& theirs) {
  std::array<int, 2> pair{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) return io_error("socketpair");
  ours.reset(pair[0]);
  theirs.reset(pair[1]);
  if (fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) return io_error("socketpair");
  return {};
}

void say_if_failed(const Result<void>& result) {
  if (!result) say(result.error().message);
}

// Looks only into the host's own list, because the loop cannot wait for a name service.
std::string name_of_user(uid_t uid) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen("/etc/passwd", "re"), fclose);
  for (const passwd* entry; file && (entry = fgetpwent(file.get()));)
    if (entry->pw_uid == uid) return entry->pw_name;
  return {};
}

// The message to the tracer that a client of the run's socket asks for by this word.
std::optional<link::Body> request_of(std::string_view text, const RunSocket::Peer& by) {
  if (text == "detach") return link::Detach{by.uid, name_of_user(by.uid)};
  if (text == "resume") return link::GoOn{by.uid, name_of_user(by.uid)};
  if (text == "stats") return link::GetStats{};
  if (text == "ping") return link::Ping{};
  return std::nullopt;
}

std::string words_of(const Result<link::Body>& answer) {
  if (!answer) return answer.error().message;
  if (const auto* failed = std::get_if<link::Failed>(&*answer)) return failed->why;
  return std::holds_alternative<link::Done>(*answer) ? "ok" : link::text_of(*answer);
}

}  // namespace

Result<std::unique_ptr<Guest>> Guest::prepare(Options options) {
  std::unique_ptr<Guest> guest(new Guest(std::move(options)));
  if (auto made = guest->make(); !made) return made.error();
  return guest;
}

Result<void> Guest::make() {
  if (options_.walls) walls_ = Walls::raise();
  MachineOptions& machine = options_.machine;
  if (machine.qemu.empty()) {
    Result<std::string> found = find_qemu();
    if (!found) return found.error();
    machine.qemu = *found;
  }
  Result<std::string> version = qemu_version(machine.qemu, machine.engine, options_.parts);
  if (!version) return version.error();
  version_ = *version;

  Result<std::unique_ptr<JournalWriter>> opened =
      JournalWriter::open(options_.state_dir, machine.vm, options_.rules, {options_.journal, {}});
  if (!opened) return opened.error();
  journal_ = std::move(*opened);
  // Only once the state directory is ours, and before the guest can write to any disk.
  Result<std::vector<disk::ResolvedDisk>> disks = disk::resolve(machine.disks, options_.state_dir);
  if (!disks) return disks.error();
  disks_ = std::move(*disks);
  link::Settings settings = journal_->settings();
  settings.policy = options_.policy;
  settings.capacity = options_.capacity;
  settings.wait = options_.wait;
  settings.services = options_.hidden;
  Result<Proxies> proxies = Proxies::prepare(options_.hidden, options_.state_dir, options_.proxy);
  if (!proxies) return proxies.error();
  proxies_ = std::move(*proxies);
  Result<UniqueFd> settings_file = memory_file("oboro-settings", settings.format());
  if (!settings_file) return settings_file.error();
  settings_ = std::move(*settings_file);
  ram_.reset(memfd_create("oboro-guest-ram", MFD_CLOEXEC));
  if (!ram_ || ftruncate(ram_.get(), static_cast<off_t>(machine.memory)) != 0) return io_error("guest RAM");
  if (auto made = channel(control_, control_end_); !made) return made;
  if (auto made = channel(commands_, commands_end_); !made) return made;
  Result<RunSocket> socket = RunSocket::listen(options_.state_dir);
  if (!socket) return socket.error();
  socket_.emplace(std::move(*socket));
  return {};
}

Inherited Guest::inherited() const {
  const stream::RingWriter::Files& ring = journal_->ring_for_tracer();
  return {ram_.get(),          control_end_.get(),         settings_.get(),      ring.ring.get(), ring.read.get(),
          commands_end_.get(), journal_->lock_for_guest(), proxies_.tracer_fds()};
}

Result<void> Guest::begin() {
  // Not before: the process that prepares a guest may become its QEMU, and is told nothing of its children then.
  if (auto started = proxies_.start(); !started) return started;
  status_.engine = options_.machine.engine == Engine::kvm ? "kvm" : "tcg";
  if (auto started = journal_->start(status_.engine, version_); !started) return started;
  status_.qemu = version_;
  status_.vm = options_.machine.vm;
  status_.state = "booting";
  status_.pid = static_cast<uint64_t>(getpid());
  status_.started = stream::now_ns();
  auto written = store::write_status(options_.state_dir, status_);
  if (!written) (void)journal_->finish(written.error().message);
  return written;
}

void Guest::give_up(const Error& why) {
  // A child of ours ends first: what it has reported is in the journal before the end of the run, and nothing after it.
  qemu_watch_.drop();
  qemu_.reset();
  (void)finish(why.message, true);
}

// Writes the run's end to the journal and to the state directory.
Result<void> Guest::finish(const std::string& how, bool failed) {
  Result<void> written = journal_->finish(how);
  status_.state = failed ? "failed" : "ended";
  status_.ended = stream::now_ns();
  if (failed) status_.error = how;
  if (auto saved = store::write_status(options_.state_dir, status_); !saved && written) written = saved;
  return written;
}

Result<void> Guest::add(Result<Loop::Watch> watch, Loop::Watch& kept) {
  if (!watch) return watch.error();
  kept = std::move(*watch);
  return {};
}

Result<void> Guest::watch(Loop& loop, Child qemu, Gate gate, std::function<void()> over) {
  loop_ = &loop;
  qemu_.emplace(std::move(qemu));
  gate_ = std::move(gate);
  status_.gate = gate_.stands();
  status_.qemu_pid = static_cast<uint64_t>(qemu_->pid());
  status_.landlock = walls_.landlock();
  if (auto written = store::write_status(options_.state_dir, status_); !written) return written;
  on_over_ = std::move(over);
  control_end_.reset();
  commands_end_.reset();
  desk_.emplace(
      loop, options_.builder, options_.allow_untraced, control_.get(), status_, options_.state_dir, cache_directory(),
      [this](const Error& why) { fail(why); }, [this](const std::string& why) { pause(paused_by_doubt_, why); });
  tracer_.emplace(loop, commands_.get());
  // The desk comes first, so that the tracer's last messages are heard before its end.
  if (auto done = desk_->open(); !done) return done;
  if (auto done = tracer_->open(); !done) return done;
  if (auto done = socket_->serve(loop, [this](std::string_view text, const RunSocket::Peer& by,
                                              RunSocket::Reply reply) { request(text, by, std::move(reply)); });
      !done)
    return done;
  if (auto done = add(loop.readable(qemu_->poll_fd(), [this] { qemu_ended(); }), qemu_watch_); !done) return done;
  const auto tell = [this] {
    if (const auto trouble = journal_->trouble()) say(*trouble);
    look_at_journal();
  };
  if (auto done = add(loop.readable(journal_->trouble_fd(), tell), trouble_watch_); !done) return done;
  if (auto done = watch_proxies(); !done) return done;
  if (auto done = watch_starting_proxies(); !done) return done;
  return options_.machine.engine == Engine::kvm ? watch_gate() : Result<void>();
}

// QEMU was seen to load the tracer before (machine.h). This is for one whose calls of KVM pass it by all the same.
Result<void> Guest::watch_gate() {
  if (!gate_.stands()) {
    say("this host cannot hold QEMU back until its tracer is there (seccomp user notification)");
    return {};
  }
  return add(loop_->readable(
                 gate_.poll_fd(),
                 [this] {
                   const Gate::Who who = gate_.waits();
                   if (who == Gate::Who::gone) return gate_watch_.drop();
                   if (who == Gate::Who::nobody) return;
                   const bool seen = desk_->finds_machine();
                   gate_.answer(seen);
                   if (!seen)
                     fail({Errc::unsupported, "QEMU makes its machine past the tracer: the guest would not be traced"});
                 }),
             gate_watch_);
}

void Guest::request(std::string_view text, const RunSocket::Peer& by, RunSocket::Reply reply) {
  if (text == "status") return reply(status_.state);
  // A guest that is let go has nothing to stand still for, either.
  if (text == "resume" || (text == "detach" && options_.machine.engine == Engine::kvm)) {
    paused_by_journal_ = paused_by_doubt_ = false;
    go_on();
  }
  if (const auto body = request_of(text, by))
    return tracer_->ask(*body,
                        [reply = std::move(reply)](const Result<link::Body>& answer) { reply(words_of(answer)); });
  reply("the request is not understood");
}

// By then the tracer refuses every send that could leak, so a few more instructions of the guest do no harm.
void Guest::pause(bool& reason, const std::string& why) {
  if (phase_ != Phase::running) return;
  const bool stands = paused_by_journal_ || paused_by_doubt_;
  reason = true;
  if (stands) return;
  if (options_.machine.engine == Engine::kvm) {
    tracer_->ask(link::Pause{}, [this](const Result<link::Body>& answer) {
      if (!answer) fail({answer.error().code, "the guest could not be stopped: " + answer.error().message});
    });
  } else {
    qemu_->stop();
  }
  say(fmt::format("the guest stands still: {} (oboro resume lets it go on)", why));
  status_.paused = why;
  say_if_failed(store::write_status(options_.state_dir, status_));
}

// Lets the machine go on if it has no reason left to stand still.
void Guest::go_on() {
  if (paused_by_journal_ || paused_by_doubt_ || status_.paused.empty()) return;
  if (options_.machine.engine == Engine::kvm)
    tracer_->ask(link::Resume{}, [](const Result<link::Body>&) {});
  else
    qemu_->go_on();
  say("the guest goes on");
  status_.paused.clear();
  say_if_failed(store::write_status(options_.state_dir, status_));
}

void Guest::look_at_journal() {
  const bool available = journal_->available();
  if (std::exchange(journal_available_, available) == available) return;
  const policy::Reaction reaction = options_.policy.reaction(policy::Trouble::journal);
  if (reaction != policy::Reaction::deny && reaction != policy::Reaction::pause) return;
  if (available) {
    paused_by_journal_ = false;
    go_on();
  }
  tracer_->ask(link::Journal{available}, [](const Result<link::Body>&) {});
  if (!available && reaction == policy::Reaction::pause) pause(paused_by_journal_, labels::kNoJournal);
}

void Guest::fail(const Error& why) {
  if (!failure_) failure_ = why;
  end();
}

void Guest::end() {
  if (phase_ != Phase::running) return;
  phase_ = Phase::ending;
  desk_->close();
  qemu_->terminate();
  if (options_.machine.engine != Engine::kvm) qemu_->go_on();  // if it stands still, it goes on to get the signal
  // Without a timer nobody would come back to kill it.
  if (!add(loop_->after(kEndGrace, [this] { qemu_->kill(); }), timer_)) qemu_->kill();
}

void Guest::qemu_ended() {
  phase_ = Phase::proxies_end;
  qemu_watch_.drop();
  timer_.drop();
  trouble_watch_.drop();
  gate_watch_.drop();
  proxy_watches_.clear();
  starting_watches_.clear();
  starting_timer_.drop();
  desk_->close();
  socket_.reset();
  const std::optional<int> status = qemu_->wait();
  // Nobody tells how a process that is not our child ended.
  const bool clean = !status || (WIFEXITED(*status) && WEXITSTATUS(*status) == 0);
  const std::string how = clean                ? std::string("the guest ended")
                          : WIFEXITED(*status) ? fmt::format("QEMU ended with status {}", WEXITSTATUS(*status))
                                               : fmt::format("QEMU was ended by signal {}", WTERMSIG(*status));
  if (status && WIFEXITED(*status)) status_.exit = WEXITSTATUS(*status);
  const Result<void> written = finish(failure_ ? failure_->message : how, failure_ || !clean);
  if (const auto trouble = journal_->trouble()) say(*trouble);
  if (failure_ && !desk_->untraceable())
    ending_.emplace(*failure_);
  else if (!failure_ && !written)
    ending_.emplace(written.error());
  else
    ending_.emplace(end_of(how, clean));
  end_proxies();
}

Ending Guest::end_of(const std::string& how, bool clean) const {
  if (failure_) {
    say(failure_->message);
    return Ending::not_traceable;
  }
  if (clean) return Ending::guest_ended;
  say(desk_->was_armed() ? how : how + " before the guest could be traced");
  return Ending::failed;
}

void Guest::end_proxies() {
  proxies_.end();
  const auto late = [this] {
    proxies_.give_up();
    over();
  };
  if (proxies_.over()) return over();
  if (!watch_proxies() || !add(loop_->after(milliseconds(Proxies::kSwitchOffMs), late), timer_)) late();
}

void Guest::over() {
  if (std::exchange(phase_, Phase::over) == Phase::over) return;
  timer_.drop();
  proxy_watches_.clear();
  on_over_();
}

}  // namespace oboro::supervisor
