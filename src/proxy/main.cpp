// oboro-proxy: the process around serve(). Exit status: 0 (its life ended), 1 (an error, on standard error), 2 (usage).
#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <latch>
#include <malloc.h>
#include <net/if.h>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <pthread.h>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include "base/fd.h"
#include "proxy/lockdown.h"
#include "proxy/server.h"

namespace {

using namespace oboro;
using namespace oboro::proxy;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr size_t kLeastMemory = 64 << 20;
constexpr size_t kMostFiles = 1 << 20;
constexpr size_t kStack = 1 << 20;
constexpr int kGraceMs = 300;  // for calls under way when its life ends

constexpr char kHelp[] = R"(usage: oboro-proxy --memory FD --for-proxy FD --for-tracer FD --root FD --life FD
                   --network none|remote [--listen PORT]... [--max-memory BYTES] [--max-files N]

Executes the file and network calls of a hidden service, for the tracer at the other end of a channel. It first locks
itself in: it sees nothing of this host but the directory that it is given. A supervisor starts it; every FD is the
number of a descriptor that it inherits. All others but standard error are closed.

  --memory FD       the channel: its memory file,
  --for-proxy FD      the eventfd that says that calls are there,
  --for-tracer FD     and the one that says that answers are there
  --root FD         the directory that is the service's root (O_PATH will do). All files in it belong to one user: the
                    owner of this directory
  --life FD         a pipe or socket; the proxy ends as soon as its other end is closed
  --network WHICH   none: no network at all. remote: other hosts, never this one
  --listen PORT     a port that the service may bind and listen at; more than once for more (with --network remote)
  --max-memory BYTES  of address space (default 536870912, at least 67108864); an eighth of it bounds what the service's
                    calls can make it hold
  --max-files N     files and sockets open at the same time (default 1024)

It has to be started by root, or by the owner of the root directory where user namespaces are allowed.
Exit status: 0 the other end of --life was closed; 1 an error (one line on standard error); 2 usage. Killed by SIGSYS: it
tried what a proxy does not do, so somebody has taken it over.
)";

int fail(int status, std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  write_all(STDERR_FILENO, "oboro-proxy: " + message + "\n");
  return status;
}

// Nothing is there that could be unwound to: threads run, and no memory is left, mostly.
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

struct Options {
  int memory = -1, for_proxy = -1, for_tracer = -1, root = -1, life = -1;
  std::string network;
  Confinement confinement{};
};

template <typename T>
bool number(std::string_view text, T least, T most, T& out) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) return false;
  out = value;
  return true;
}

Result<void> take(Options& options, std::string_view name, std::string_view value) {
  const auto wrong = [&](std::string_view why) {
    return Error{Errc::invalid, fmt::format("{} {}: {}", name, value, why)};
  };
  const std::array descriptors = {std::pair{"--memory", &options.memory}, std::pair{"--for-proxy", &options.for_proxy},
                                  std::pair{"--for-tracer", &options.for_tracer}, std::pair{"--root", &options.root},
                                  std::pair{"--life", &options.life}};
  for (const auto& [option, fd] : descriptors) {
    if (name != option) continue;
    if (*fd >= 0) return wrong("was given before");
    if (!number(value, 0, 1 << 30, *fd) || *fd == STDERR_FILENO) return wrong("is no descriptor for that");
    if (fcntl(*fd, F_GETFD) < 0) return wrong("is not open");
    for (const auto& [other, used] : descriptors)
      if (used != fd && *used == *fd) return wrong(fmt::format("is that of {}", other));
    return {};
  }
  if (name == "--network") {
    if (value != "none" && value != "remote") return wrong("it is none or remote");
    options.network = value;
  } else if (name == "--listen") {
    if (!number<uint16_t>(value, 1, 65535, options.confinement.listen.emplace_back())) return wrong("is no port");
  } else if (name == "--max-memory") {
    if (!number(value, kLeastMemory, size_t{1} << 46, options.confinement.memory))
      return wrong(fmt::format("is no number of bytes from {} on", kLeastMemory));
  } else if (name == "--max-files") {
    if (!number(value, size_t{1}, kMostFiles, options.confinement.files))
      return wrong(fmt::format("is no number from 1 to {}", kMostFiles));
  } else {
    return Error{Errc::invalid, fmt::format("there is no option {}", name)};
  }
  return {};
}

Result<Options> parse_options(std::span<char* const> words) {
  Options options;
  for (size_t i = 0; i < words.size(); i += 2) {
    if (i + 1 == words.size()) return Error{Errc::invalid, fmt::format("{} has no value", words[i])};
    if (auto taken = take(options, words[i], words[i + 1]); !taken) return taken.error();
  }
  for (const auto& [name, fd] : {std::pair{"--memory", options.memory}, std::pair{"--for-proxy", options.for_proxy},
                                 std::pair{"--for-tracer", options.for_tracer}, std::pair{"--root", options.root},
                                 std::pair{"--life", options.life}})
    if (fd < 0) return Error{Errc::invalid, fmt::format("{} is missing", name)};
  if (options.network.empty()) return Error{Errc::invalid, "--network is missing"};
  options.confinement.network = options.network == "remote";
  if (!options.confinement.network && !options.confinement.listen.empty())
    return Error{Errc::invalid, "--listen goes with --network remote only"};
  return options;
}

Result<void> close_others(const Options& options) {
  std::array kept = {options.memory, options.for_proxy, options.for_tracer, options.root, options.life, STDERR_FILENO};
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

// Also those that mean this host among others: a broadcast is heard here as well.
Result<std::vector<std::vector<std::byte>>> own_addresses() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return Error{Errc::io, fmt::format("own addresses: {}", std::strerror(errno))};
  std::vector<std::vector<std::byte>> own;
  const auto add = [&](const sockaddr* address) {
    const auto put = [&](const auto& in) {
      const auto bytes = std::as_bytes(std::span(&in, 1));
      own.emplace_back(bytes.begin(), bytes.end());
    };
    if (address && address->sa_family == AF_INET) put(reinterpret_cast<const sockaddr_in*>(address)->sin_addr);
    if (address && address->sa_family == AF_INET6) put(reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
  };
  for (const ifaddrs* one = all; one; one = one->ifa_next) {
    add(one->ifa_addr);
    if (one->ifa_flags & IFF_BROADCAST) add(one->ifa_broadaddr);
  }
  freeifaddrs(all);
  return own;
}

// The server sees the end of its life by itself, unless it or one of its threads is stuck in a system call.
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
  policy.listen = options.confinement.listen;
  if (policy.remote) {
    auto own = own_addresses();
    if (!own) return own.error();
    policy.own = std::move(*own);
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
  return serve(std::move(*channel), std::move(*root), std::move(policy), limits, UniqueFd(dup(options.life)),
               [&] { return seal(options.confinement); });
}

int start(std::span<char* const> words) {
  const auto asks = [](std::string_view word) { return word == "--help" || word == "-h"; };
  if (std::any_of(words.begin(), words.end(), asks)) return write_all(STDOUT_FILENO, kHelp) ? 0 : kFailed;
  const auto options = parse_options(words);
  if (!options) return fail(kUsage, options.error().message + " (oboro-proxy --help)");
  const auto done = run(*options);
  return done ? 0 : fail(kFailed, done.error().message);
}

}  // namespace

// _exit: what runs at exit may want system calls that are not allowed any more.
int main(int argc, char** argv) {
  // One arena: others reserve address space that there is not, and ask the kernel for what they cannot have.
  mallopt(M_ARENA_MAX, 1);
  std::set_terminate(end_with_exception);
  try {
    _exit(start(std::span(argv, static_cast<size_t>(argc)).subspan(std::min(argc, 1))));
  } catch (const std::exception& error) {
    _exit(fail(kFailed, error.what()));
  }
}
