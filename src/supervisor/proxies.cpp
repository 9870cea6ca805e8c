#include "supervisor/proxies.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

namespace oboro::supervisor {
namespace {

Error io_error(std::string_view what) { return {Errc::io, fmt::format("{}: {}", what, strerror(errno))}; }

// The directories of a pattern that it names without a wildcard: those that a service expects to be there.
std::string fixed_directory(std::string_view pattern) {
  const size_t wild = pattern.find_first_of("*?[{\\");
  if (wild == std::string_view::npos) return std::string(pattern.substr(0, pattern.rfind('/')));
  return std::string(pattern.substr(0, pattern.substr(0, wild).rfind('/')));
}

}  // namespace

Result<Proxies> Proxies::start(const std::vector<HiddenService>& services, const std::string& state_dir,
                               const std::string& program) {
  Proxies proxies;
  for (const HiddenService& service : services) {
    const std::string root = state_dir + "/hidden/" + service.name;
    std::error_code error;
    std::filesystem::create_directories(root, error);
    for (const std::string& pattern : service.files)
      if (!error) std::filesystem::create_directories(root + fixed_directory(pattern), error);
    if (error) return Error{Errc::io, fmt::format("{}: {}", root, error.message())};
    const UniqueFd directory(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory) return io_error(root);
    Result<proxy::ChannelFds> channel = proxy::Channel::create();
    if (!channel) return channel.error();
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return io_error("socketpair");
    UniqueFd life(ends[0]);
    const UniqueFd proxys(ends[1]);
    std::vector<std::string> command = {program, "--network", service.network ? "remote" : "none"};
    const std::vector<int> inherited = {channel->memory.get(), channel->for_proxy.get(), channel->for_tracer.get(),
                                        directory.get(), proxys.get()};
    size_t at = 0;
    for (const char* option : {"--memory", "--for-proxy", "--for-tracer", "--root", "--life"})
      command.insert(command.end(), {option, std::to_string(inherited[at++])});
    for (const uint16_t port : service.listen) command.insert(command.end(), {"--listen", std::to_string(port)});
    Result<Child> child = Child::start(command, {}, inherited);
    if (!child) return child.error();
    proxies.all_.push_back({service.name, std::move(*child), std::move(*channel), std::move(life)});
    const One& one = proxies.all_.back();
    proxies.tracer_fds_.push_back(
        {one.channel.memory.get(), one.channel.for_proxy.get(), one.channel.for_tracer.get(), one.life.get()});
  }
  return proxies;
}

std::optional<std::string> Proxies::ended() {
  for (One& one : all_) {
    pollfd end{one.child.poll_fd(), POLLIN, 0};
    if (one.ended || poll(&end, 1, 0) <= 0) continue;
    one.ended = true;
    return one.name;
  }
  return std::nullopt;
}

}  // namespace oboro::supervisor
