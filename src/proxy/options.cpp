#include "proxy/options.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <fcntl.h>
#include <fmt/format.h>
#include <optional>
#include <set>
#include <string_view>
#include <unistd.h>
#include <utility>

#include "base/number.h"

namespace oboro::proxy {

const char kHelp[] = R"(usage: oboro-proxy --memory FD --for-proxy FD --for-tracer FD --root FD --life FD
                   --network none|remote [--to DESTINATION]... [--listen PORT]... [--deny ADDRESS]...
                   [--disk shared|own] [--max-disk BYTES] [--max-memory BYTES] [--max-files N]
       oboro-proxy relay --memory FD --for-proxy FD --for-tracer FD --root FD --life FD
                   --stream FD --console FD --ready FD
       oboro-proxy init    (only as the first process of a machine; its arguments are in /oboro/arguments)

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
  --to DESTINATION  of other hosts only this one; more than once for more, "none" for none (with --network remote):
                    ADDRESS[/BITS]:PORT[-PORT]/tcp or /udp, IPv6 as [ADDRESS[/BITS]]:PORT
  --listen PORT     a port that the service may bind and listen at; more than once for more (with --network remote)
  --deny ADDRESS    an IPv4 or IPv6 address that is not to be reached either; more than once for more
  --disk WHICH      shared (the default): of the root's file system a twentieth stays free, or 256 MiB where that is more
                    (but no more than a quarter), and a twentieth of its inodes; the service gets ENOSPC.
                    own: it may fill it
  --max-disk BYTES  that the files in the root directory may take, at least 1048576 (default: no such bound); the service
                    gets ENOSPC beyond. What is there is counted at the start
  --max-memory BYTES  of address space (default 536870912, at least 67108864); an eighth of it bounds what the service's
                    calls can make it hold
  --max-files N     files and sockets open at the same time (default 1024)

As a relay it carries the channel's frames to and from a proxy in a machine of its own (oboro run --proxy vm):

  --stream FD       the socket that is the machine's virtio-serial port
  --console FD      a pipe, the machine's console: its lines that are the proxy's messages go to standard error
  --ready FD        a pipe, into which a byte is written as soon as the proxy in the machine is there
  --root FD         an empty directory

It has to be started by root, or by the owner of the root directory where user namespaces are allowed.
Exit status: 0 the other end of --life was closed; 1 an error (one line on standard error); 2 usage. Killed by SIGSYS: it
tried what a proxy does not do, so somebody has taken it over; 3: a relay's proxy, in its machine, was killed so.
)";

namespace {

template <typename T>
bool number(std::string_view text, T least, T most, T& out) {
  T value{};
  if (!parse_number(text, value) || value < least || value > most) return false;
  out = value;
  return true;
}

// The options of the role that take a descriptor.
std::vector<std::pair<std::string_view, int*>> descriptor_options(Options& o) {
  if (o.role == Options::Role::init) return {};
  std::vector<std::pair<std::string_view, int*>> all = {{"--memory", &o.memory},
                                                        {"--for-proxy", &o.for_proxy},
                                                        {"--for-tracer", &o.for_tracer},
                                                        {"--root", &o.root},
                                                        {"--life", &o.life}};
  if (o.role == Options::Role::relay)
    all.insert(all.end(), {{"--stream", &o.stream}, {"--console", &o.console}, {"--ready", &o.ready}});
  return all;
}

bool address(const std::string& text, std::vector<std::byte>& out) {
  std::array<std::byte, sizeof(in6_addr)> bytes{};
  const size_t size = inet_pton(AF_INET, text.c_str(), bytes.data()) == 1    ? sizeof(in_addr)
                      : inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1 ? sizeof(in6_addr)
                                                                             : 0;
  out.assign(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
  return size > 0;
}

Result<void> take(Options& options, const std::string& name, const std::string& value) {
  const auto wrong = [&](std::string_view why) {
    return Error{Errc::invalid, fmt::format("{} {}: {}", name, value, why)};
  };
  const auto descriptors = descriptor_options(options);
  for (const auto& [option, fd] : descriptors) {
    if (name != option) continue;
    if (*fd >= 0) return wrong("was given before");
    if (!number(value, 0, 1 << 30, *fd) || *fd == STDERR_FILENO) return wrong("is no descriptor for that");
    if (fcntl(*fd, F_GETFD) < 0) return wrong("is not open");
    for (const auto& [other, used] : descriptors)
      if (used != fd && *used == *fd) return wrong(fmt::format("is that of {}", other));
    return {};
  }
  if (options.role == Options::Role::relay) return Error{Errc::invalid, fmt::format("a relay has no option {}", name)};
  if (name == "--network") {
    if (value != "none" && value != "remote") return wrong("it is none or remote");
    options.network = value;
  } else if (name == "--to") {
    if (!options.to) options.to.emplace();
    if (value == "none") return {};
    auto destination = parse_destination(value);
    if (!destination) return Error{Errc::invalid, fmt::format("--to {}", destination.error().message)};
    if (!destination->name.empty()) return wrong("is a name, and nobody resolves it here");
    options.to->push_back(std::move(*destination));
  } else if (name == "--listen") {
    if (!number<uint16_t>(value, 1, 65535, options.confinement.listen.emplace_back())) return wrong("is no port");
  } else if (name == "--deny") {
    if (!address(value, options.denied.emplace_back())) return wrong("is no address");
  } else if (name == "--disk") {
    if (value != "shared" && value != "own") return wrong("it is shared or own");
    options.shared_disk = value == "shared";
  } else if (name == "--max-disk") {
    if (!number(value, kLeastDisk, kMostDisk, options.max_disk))
      return wrong(fmt::format("is no number of bytes from {} on", kLeastDisk));
  } else if (name == "--max-memory") {
    if (!number(value, kLeastMemory, kMostMemory, options.confinement.memory))
      return wrong(fmt::format("is no number of bytes from {} on", kLeastMemory));
  } else if (name == "--max-files") {
    if (!number(value, size_t{1}, kMostFiles, options.confinement.files))
      return wrong(fmt::format("is no number from 1 to {}", kMostFiles));
  } else {
    return Error{Errc::invalid, fmt::format("there is no option {}", name)};
  }
  return {};
}

}  // namespace

std::vector<int> Options::descriptors() const {
  std::vector<int> all;
  for (const int fd : {memory, for_proxy, for_tracer, root, life, stream, console, ready})
    if (fd >= 0) all.push_back(fd);
  return all;
}

namespace {

// For the kernel to hold the proxy to. Nothing: they are too many to be worth it.
std::optional<std::set<uint16_t>> tcp_ports(const std::vector<Destination>& to) {
  constexpr size_t kMost = 4096;
  std::set<uint16_t> ports;
  for (const Destination& one : to)
    for (unsigned port = one.first_port; one.protocol == Protocol::tcp && port <= one.last_port; ++port) {
      ports.insert(static_cast<uint16_t>(port));
      if (ports.size() > kMost) return std::nullopt;
    }
  return ports;
}

}  // namespace

Result<Options> parse_options(std::span<const std::string> words) {
  Options options;
  const auto asks = [](const std::string& word) { return word == "--help" || word == "-h"; };
  if (std::any_of(words.begin(), words.end(), asks)) {
    options.role = Options::Role::help;
    return options;
  }
  if (!words.empty() && (words[0] == "relay" || words[0] == "init")) {
    options.role = words[0] == "relay" ? Options::Role::relay : Options::Role::init;
    words = words.subspan(1);
  }
  for (size_t i = 0; i < words.size(); i += 2) {
    if (i + 1 == words.size()) return Error{Errc::invalid, fmt::format("{} has no value", words[i])};
    if (auto taken = take(options, words[i], words[i + 1]); !taken) return taken.error();
  }
  for (const auto& [name, fd] : descriptor_options(options))
    if (*fd < 0) return Error{Errc::invalid, fmt::format("{} is missing", name)};
  if (options.role == Options::Role::relay) return options;
  if (options.to) options.confinement.connect = tcp_ports(*options.to);
  if (options.network.empty()) return Error{Errc::invalid, "--network is missing"};
  options.confinement.network = options.network == "remote";
  if (!options.confinement.network && !options.confinement.listen.empty())
    return Error{Errc::invalid, "--listen goes with --network remote only"};
  if (!options.confinement.network && options.to) return Error{Errc::invalid, "--to goes with --network remote only"};
  return options;
}

}  // namespace oboro::proxy
