// oboro-proxy: the process around serve(), relay() and init(). Exit status: 0 (its life ended), 1 (an error, on
// standard error), 2 (usage), 3 (a relay: kProxyWasTakenOver).
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fmt/format.h>
#include <latch>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "base/fd.h"
#include "proxy/init.h"
#include "proxy/lockdown.h"
#include "proxy/options.h"
#include "proxy/own_addresses.h"
#include "proxy/relay.h"
#include "proxy/server.h"

namespace {

using namespace oboro;
using namespace oboro::proxy;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr size_t kStack = 1 << 20;
constexpr size_t kMemoryPerCountedFile = 256;  // bytes, of those that the proxy may have
constexpr int kLastWordsMs = 2000;
constexpr int kGraceMs = 300;  // for calls under way when its life ends

int fail(int status, std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  write_all(STDERR_FILENO, "oboro-proxy: " + message + "\n");
  return status;
}

// There is nothing to unwind to: threads run, and mostly there is no memory left.
[[noreturn]] void end_with_exception() {
  const char* what = "ended by mistake";
  try {
    if (std::current_exception()) std::rethrow_exception(std::current_exception());
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {
  }
  for (const char* part : {"oboro-proxy: ", what, "\n"}) write_all(STDERR_FILENO, part);
  _exit(kFailed);
}

Result<void> close_others(const Options& options) {
  std::vector<int> kept = options.descriptors();
  kept.push_back(STDERR_FILENO);
  std::sort(kept.begin(), kept.end());
  unsigned first = 0;
  for (const int fd : kept) {
    const auto kept_one = static_cast<unsigned>(fd);
    if (first < kept_one && syscall(SYS_close_range, first, kept_one - 1, 0) != 0)
      return Error{Errc::io, fmt::format("close_range: {}", std::strerror(errno))};
    first = kept_one + 1;
  }
  if (syscall(SYS_close_range, first, ~0U, 0) != 0)
    return Error{Errc::io, fmt::format("close_range: {}", std::strerror(errno))};
  return {};
}

// The server notices the end of its life by itself, unless it or one of its threads is stuck in a system call.
void end_with(int life, std::latch& running) {
  running.count_down();
  pollfd end{life, POLLIN, 0};
  while (poll(&end, 1, -1) <= 0) {
  }
  (void)poll(nullptr, 0, kGraceMs);
  _exit(0);
}

Result<void> run(const Options& options) {
  if (auto closed = close_others(options); !closed) return closed;
  umask(0);  // the modes are the service's
  NetworkPolicy policy;
  policy.remote = options.confinement.network;
  policy.to = options.to;
  policy.listen = options.confinement.listen;
  if (policy.remote) {
    auto own = own_addresses();
    if (!own) return own.error();
    policy.own = std::move(*own);
    policy.own.insert(policy.own.end(), options.denied.begin(), options.denied.end());
  }
  ChannelFds fds{UniqueFd(options.memory), UniqueFd(options.for_proxy), UniqueFd(options.for_tracer)};
  auto channel = Channel::attach(std::move(fds), Channel::Side::proxy);
  if (!channel) return channel.error();
  auto root = confine(UniqueFd(options.root), options.confinement);
  if (!root) return root.error();

  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, kStack) == 0)
    pthread_setattr_default_np(&attributes);
  std::latch running(1);
  std::thread([life = options.life, &running] { end_with(life, running); }).detach();
  running.wait();
  ServerLimits limits;
  limits.handles = options.confinement.files;
  limits.bytes = options.confinement.memory / 8;
  limits.disk.shared = options.shared_disk;
  limits.disk.most = options.max_disk;
  limits.disk.most_files = options.confinement.memory / kMemoryPerCountedFile;
  return serve(std::move(*channel), std::move(*root), std::move(policy), limits, UniqueFd(dup(options.life)),
               [&] { return seal(options.confinement); });
}

struct Console {
  std::atomic<bool> over{false}, killed_by_filter{false};
};

// Whatever a machine writes to its console, at most some lines of it reach our user's terminal, as plain text.
void watch_console(int console, Console& seen) {
  constexpr size_t kMostLines = 100, kLongest = 300;
  constexpr std::string_view kOwn = "oboro-proxy: ";
  std::array<char, 4096> piece{};
  std::string line;
  for (size_t lines = 0;;) {
    const ssize_t count = read(console, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    for (const char c : std::string_view(piece.data(), static_cast<size_t>(count))) {
      if (c == '\n') {
        if (line == std::string(kOwn) + kKilledByFilter) seen.killed_by_filter = true;
        const bool panic = line.find("Kernel panic") != std::string::npos;
        // Does not wait: a reader that does not read us must not stop the machine.
        pollfd ready{STDERR_FILENO, POLLOUT, 0};
        if ((line.starts_with(kOwn) || panic) && ++lines <= kMostLines && poll(&ready, 1, 0) > 0)
          write_all(STDERR_FILENO, fmt::format("{}the machine: {}\n", kOwn, line.substr(panic ? 0 : kOwn.size())));
        line.clear();
      } else if (c >= ' ' && c <= '~' && line.size() < kLongest) {
        line += c;
      }
    }
  }
}

Result<void> run_relay(const Options& options) {
  if (auto closed = close_others(options); !closed) return closed;
  signal(SIGPIPE, SIG_IGN);
  ChannelFds fds{UniqueFd(options.memory), UniqueFd(options.for_proxy), UniqueFd(options.for_tracer)};
  auto channel = Channel::attach(std::move(fds), Channel::Side::proxy);
  if (!channel) return channel.error();
  if (auto root = confine(UniqueFd(options.root), options.confinement); !root) return root.error();
  std::latch running(1);
  static Console seen;  // the thread goes on to the end
  std::thread([console = options.console, &running] {
    running.count_down();
    watch_console(console, seen);
    seen.over = true;
  }).detach();
  running.wait();
  if (auto sealed = seal(options.confinement); !sealed) return sealed;

  UniqueFd stream(options.stream);
  std::array<pollfd, 2> waits = {pollfd{stream.get(), POLLIN, 0}, pollfd{options.life, POLLIN, 0}};
  while (poll(waits.data(), waits.size(), -1) < 0 && errno == EINTR) {
  }
  if (waits[1].revents) return {};
  char first = 0;
  if (read(stream.get(), &first, 1) != 1 || first != kReady)
    return Error{Errc::io, "the proxy's machine ended before it was ready"};
  if (!write_all(options.ready, std::string_view(&first, 1))) return Error{Errc::io, "--ready: nobody is there"};
  const auto relayed = relay(std::move(*channel), std::move(stream), options.life);
  // If it is the machine that has ended, its last words are in the console's pipe.
  for (int waited = 0; !seen.over && waited < kLastWordsMs; waited += kLastWordsMs / 100) {
    pollfd life{options.life, POLLIN, 0};
    if (poll(&life, 1, kLastWordsMs / 100) > 0) break;
  }
  if (seen.killed_by_filter) _exit(kProxyWasTakenOver);
  return relayed;
}

int start(std::span<char* const> words) {
  const auto options = parse_options(std::vector<std::string>(words.begin(), words.end()));
  if (!options) return fail(kUsage, options.error().message + " (oboro-proxy --help)");
  const auto run_role = [&] { return options->role == Options::Role::relay ? run_relay(*options) : run(*options); };
  if (options->role == Options::Role::help) return write_all(STDOUT_FILENO, kHelp) ? 0 : kFailed;
  const auto done = run_role();
  return done ? 0 : fail(kFailed, done.error().message);
}

}  // namespace

// _exit: functions that run at exit may want system calls that are not allowed any more.
int main(int argc, char** argv) {
  // One arena: further ones reserve address space that does not exist, and ask the kernel for what they cannot have.
  mallopt(M_ARENA_MAX, 1);
  std::set_terminate(end_with_exception);
  try {
    const auto words = std::span(argv, static_cast<size_t>(argc)).subspan(std::min(argc, 1));
    // Before the options are parsed: a machine's options are in a file.
    if (words.size() == 1 && std::string_view(words[0]) == "init") _exit(fail(kFailed, init().error().message));
    _exit(start(words));
  } catch (const std::exception& error) {
    _exit(fail(kFailed, error.what()));
  }
}
