#include "supervisor/launch/proxies.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/io_error.h"
#include "proxy/directories.h"
#include "proxy/init.h"
#include "proxy/own_addresses.h"
#include "proxy/relay.h"
#include "supervisor/launch/destinations.h"
#include "supervisor/say.h"

namespace oboro::supervisor {
namespace {

// The directories that a pattern names without a wildcard. A service expects these to be there.
std::string fixed_directory(std::string_view pattern) {
  const size_t wild = pattern.find_first_of("*?[{\\");
  if (wild == std::string_view::npos) return std::string(pattern.substr(0, pattern.rfind('/')));
  return std::string(pattern.substr(0, pattern.substr(0, wild).rfind('/')));
}

Result<UniqueFd> directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return Error{Errc::io, fmt::format("{}: {}", path, error.message())};
  UniqueFd fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return io_error(path);
  return fd;
}

struct Ends {
  UniqueFd ours, theirs;
};

Result<Ends> sockets() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return io_error("socketpair");
  return Ends{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// The proxy's arguments, wherever it runs.
Result<std::vector<std::string>> arguments_of(const link::HiddenService& service) {
  std::vector<std::string> words = {"--network", service.network ? "remote" : "none"};
  const Result<Reach> reach = reach_of(service);
  if (!reach) return reach.error();
  for (const std::string& line : reach->said) say(line);
  if (service.to) words.insert(words.end(), {"--to", "none"});
  for (const proxy::Destination& one : reach->destinations) words.insert(words.end(), {"--to", one.text()});
  for (const uint16_t port : service.listen) words.insert(words.end(), {"--listen", std::to_string(port)});
  if (service.max_memory) words.insert(words.end(), {"--max-memory", std::to_string(*service.max_memory)});
  if (service.max_disk) words.insert(words.end(), {"--max-disk", std::to_string(*service.max_disk)});
  if (service.max_files) words.insert(words.end(), {"--max-files", std::to_string(*service.max_files)});
  return words;
}

// A machine does not know this host's addresses, nor which of its own addresses mean this host.
Result<std::vector<std::string>> denied_by(const link::HiddenService& service) {
  std::vector<std::string> words;
  if (!service.network) return words;
  const auto own = proxy::own_addresses();
  if (!own) return own.error();
  const auto deny = [&](const std::string& address) { words.insert(words.end(), {"--deny", address}); };
  for (const std::vector<std::byte>& address : *own) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const bool four = address.size() == sizeof(in_addr);
    // Loopback is each machine's own.
    if ((four && address[0] == std::byte{127}) ||
        !inet_ntop(four ? AF_INET : AF_INET6, address.data(), text.data(), text.size()) ||
        std::string_view(text.data()) == "::1")
      continue;
    deny(text.data());
  }
  const proxy::MachineNetwork& net = proxy::kMachineNetwork;
  for (const char* address : {net.router, net.names, net.host6, net.names6, net.router6}) deny(address);
  return words;
}

// Starts the proxy, or the relay. Both get the same arguments, and the relay gets some more.
Result<Child> start_program(std::vector<std::string> command, const std::vector<std::pair<const char*, int>>& fds) {
  std::vector<int> inherited;
  for (const auto& [option, fd] : fds) {
    command.insert(command.end(), {option, std::to_string(fd)});
    inherited.push_back(fd);
  }
  return Child::start(command, {}, inherited);
}

// By its seccomp filter. A relay says it of the proxy in its machine.
bool suspect(std::optional<int> status, bool relay) {
  if (!status) return false;
  if (WIFSIGNALED(*status)) return WTERMSIG(*status) == SIGSYS;
  return relay && WEXITSTATUS(*status) == proxy::kProxyWasTakenOver;
}

// How it ended; empty: nobody tells, or there is nothing to tell.
std::string how(std::optional<int> status, bool relay) {
  if (suspect(status, relay)) return " by a system call that it may not make, so somebody may have taken it over";
  if (status && WIFSIGNALED(*status)) return fmt::format(" by signal {}", WTERMSIG(*status));
  if (relay && status) return " with its machine";
  return status && WEXITSTATUS(*status) != 0 ? fmt::format(" with status {}", WEXITSTATUS(*status)) : std::string();
}

}  // namespace

Result<Proxies> Proxies::prepare(const std::vector<link::HiddenService>& services, const std::string& state_dir,
                                 const ProxyPlace& place) {
  Proxies proxies;
  proxies.place_ = place;
  proxies.no_files_ = state_dir + "/hidden/.empty";
  for (const link::HiddenService& service : services) {
    One& one = proxies.all_.emplace_back();
    one.home = state_dir + "/hidden/" + service.name;
    one.work = {service.name,       one.home + ".ext4", {}, {}, service.network, service.listen,
                service.max_memory, service.max_disk};
    Result<std::vector<std::string>> told = arguments_of(service);
    if (!told) return told.error();
    one.work.arguments = std::move(*told);
    for (const std::string& pattern : service.files) one.work.directories.push_back(fixed_directory(pattern));
    if (place.machine) {
      Result<std::vector<std::string>> denied = denied_by(service);
      if (!denied) return denied.error();
      one.work.arguments.insert(one.work.arguments.end(), denied->begin(), denied->end());
      one.work.arguments.insert(one.work.arguments.end(), {"--disk", "own"});
    }
    if (auto connected = proxies.connect(one); !connected) return connected.error();
  }
  // Their descriptors are those of all_, where nothing is added any more.
  for (const One& one : proxies.all_) proxies.tracer_fds_.push_back(fds_of(one));
  return proxies;
}

std::vector<int> Proxies::fds_of(const One& one) {
  return {one.channel.memory.get(), one.channel.for_proxy.get(), one.channel.for_tracer.get(), one.life.get()};
}

Result<void> Proxies::connect(One& one) {
  Result<proxy::ChannelFds> channel = proxy::Channel::create();
  if (!channel) return channel.error();
  Result<Ends> life = sockets();
  if (!life) return life.error();
  one.channel = std::move(*channel);
  one.life = std::move(life->ours);
  one.life_end = std::move(life->theirs);
  return {};
}

Result<void> Proxies::start_again(size_t service) {
  One& one = all_[service];
  one.child.reset();
  one.machine.reset();
  if (auto connected = connect(one); !connected) return connected;
  tracer_fds_[service] = fds_of(one);
  one.again = true;
  if (auto started = start(one); !started) {
    one.ready.reset();
    one.machine.reset();
    return started;
  }
  one.ended = false;
  return {};
}

void Proxies::drop(size_t service) {
  all_[service].ended = true;
  all_[service].life.reset();
  all_[service].child.reset();
}

Result<void> Proxies::start() {
  for (One& one : all_)
    if (auto started = start(one); !started) return started;
  return {};
}

Result<void> Proxies::start(One& one) {
  // A relay has no files: its root stays empty.
  const Result<UniqueFd> root = directory(place_.machine ? no_files_ : one.home);
  if (!root) return root.error();
  const UniqueFd life = std::move(one.life_end);
  std::vector<std::pair<const char*, int>> fds = {{"--memory", one.channel.memory.get()},
                                                  {"--for-proxy", one.channel.for_proxy.get()},
                                                  {"--for-tracer", one.channel.for_tracer.get()},
                                                  {"--root", root->get()},
                                                  {"--life", life.get()}};
  std::vector<std::string> command = {place_.program};
  UniqueFd to_ready, stream, console;
  if (place_.machine) {
    Result<Ends> port = sockets();
    if (!port) return port.error();
    std::array<int, 2> lines{}, readiness{};
    if (pipe2(lines.data(), O_CLOEXEC) != 0) return io_error("pipe");
    console = UniqueFd(lines[0]);
    const UniqueFd machines_console(lines[1]);
    if (pipe2(readiness.data(), O_CLOEXEC) != 0) return io_error("pipe");
    one.ready = UniqueFd(readiness[0]);
    to_ready = UniqueFd(readiness[1]);
    Result<Child> machine =
        start_proxy_machine(*place_.machine, one.work, place_.program, port->theirs.get(), machines_console.get());
    if (!machine) return machine.error();
    one.machine.emplace(std::move(*machine));
    stream = std::move(port->ours);
    command.emplace_back("relay");
    fds.insert(fds.end(), {{"--stream", stream.get()}, {"--console", console.get()}, {"--ready", to_ready.get()}});
  } else {
    for (const std::string& path : one.work.directories)
      if (auto made = proxy::make_directories(root->get(), path); !made)
        return Error{made.error().code, fmt::format("{}: {}", one.home, made.error().message)};
    command.insert(command.end(), one.work.arguments.begin(), one.work.arguments.end());
  }
  Result<Child> child = start_program(std::move(command), fds);
  if (!child) return child.error();
  one.child.emplace(std::move(*child));
  return {};
}

std::vector<Proxies::Starting> Proxies::starting() const {
  std::vector<Starting> found;
  for (const One& one : all_)
    if (one.ready) found.push_back({one.work.name, one.ready.get(), one.again});
  return found;
}

Result<void> Proxies::heard(const std::string& service) {
  const auto one =
      std::find_if(all_.begin(), all_.end(), [&](const One& each) { return each.work.name == service && each.ready; });
  if (one == all_.end()) return {};
  char there = 0;
  const bool is_there = read(one->ready.get(), &there, 1) == 1;
  if (is_there || one->again) {
    one->ready.reset();
    return {};
  }
  return Error{Errc::io, fmt::format("hidden service {}: the proxy's machine did not start", service)};
}

Proxies::~Proxies() {
  end();
  for (const One& one : all_)
    if (!one.over() && one.child->ends_within(kSwitchOffMs)) one.machine->ends_within(kSwitchOffMs);
  give_up();
}

void Proxies::end() {
  for (One& one : all_) one.life.reset();
}

// A proxy that is not ready yet has written nothing.
bool Proxies::One::over() const {
  return !machine || !child || ready || (child->ends_within(0) && machine->ends_within(0));
}

bool Proxies::over() const {
  return std::all_of(all_.begin(), all_.end(), [](const One& one) { return one.over(); });
}

void Proxies::give_up() {
  for (const One& one : all_)
    if (!one.over())
      say(
          fmt::format("the machine of the proxy of {} does not switch itself off and is ended: what it had not "
                      "written yet is lost",
                      one.work.name));
  all_.clear();
}

std::vector<int> Proxies::poll_fds() const {
  std::vector<int> fds;
  for (const One& one : all_) {
    if (one.child && !one.ended) fds.push_back(one.child->poll_fd());
    if (one.machine) fds.push_back(one.machine->poll_fd());
  }
  return fds;
}

std::optional<Proxies::End> Proxies::ended() {
  for (size_t i = 0; i < all_.size(); ++i) {
    One& one = all_[i];
    if (one.ended || one.ready || !one.child || !one.child->ends_within(0))
      continue;  // heard() tells of one that was never there
    one.ended = true;
    const std::optional<int> status = one.child->wait();
    return End{i, one.work.name, how(status, one.machine.has_value()), suspect(status, one.machine.has_value())};
  }
  return std::nullopt;
}

}  // namespace oboro::supervisor
