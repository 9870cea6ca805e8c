#include "proxy/init.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <linux/ipv6.h>
#include <net/if.h>
#include <net/route.h>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "proxy/channel.h"
#include "proxy/directories.h"
#include "proxy/never_reached.h"
#include "proxy/options.h"
#include "proxy/relay.h"

namespace oboro::proxy {
namespace {

// More than a busy host takes. The run waits for its proxies no longer than supervisor/guest.cpp says.
constexpr int kDeviceTimeoutMs = 60000;
constexpr int kOtherEndMs = 30000;
constexpr int kLookEveryMs = 10;
constexpr char kFiles[] = "/files";
constexpr char kNewRoot[] = "/new";

Error failed(std::string_view what) { return {Errc::io, fmt::format("{}: {}", what, std::strerror(errno))}; }

std::vector<std::string> lines_of(const char* path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) lines.push_back(line);
  return lines;
}

Result<void> mount_at(const char* what, const char* where, const char* type, unsigned long flags = 0,
                      const char* data = nullptr) {
  if (mkdir(where, 0755) != 0 && errno != EEXIST) return failed(where);
  if (mount(what, where, type, flags, data) != 0) return failed(fmt::format("mount {}", where));
  return {};
}

// A RAM disk that the kernel started from cannot be left (pivot_root). But the proxy is about to do that.
Result<void> leave_first_root() {
  if (auto done = mount_at("tmpfs", kNewRoot, "tmpfs", 0, "mode=755,size=1m"); !done) return done;
  for (const auto& [what, type] : {std::pair("dev", "devtmpfs"), std::pair("proc", "proc"), std::pair("sys", "sysfs")})
    if (auto done = mount_at(type, fmt::format("{}/{}", kNewRoot, what).c_str(), type); !done) return done;
  if (chdir(kNewRoot) != 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 || chdir("/") != 0)
    return failed("the new root");
  return {};
}

Result<void> load_modules() {
  for (const std::string& path : lines_of(kModulesFile)) {
    const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    constexpr int kCompressed = 4;  // MODULE_INIT_COMPRESSED_FILE
    const int flags = path.ends_with(".ko") ? 0 : kCompressed;
    if (!file || (syscall(SYS_finit_module, file.get(), "", flags) != 0 && errno != EEXIST)) return failed(path);
  }
  return {};
}

// Devices appear when the kernel has found them, after their module was loaded.
template <typename F>
bool wait_for(const F& found, int most_ms = kDeviceTimeoutMs) {
  for (int waited = 0; waited < most_ms; waited += kLookEveryMs) {
    if (found()) return true;
    (void)poll(nullptr, 0, kLookEveryMs);
  }
  return false;
}

Result<UniqueFd> open_port() {
  UniqueFd port;
  const bool there = wait_for([&] {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/class/virtio-ports", error)) {
      std::string name;
      std::getline(std::ifstream(entry.path() / "name"), name);
      if (name == kPortName)
        port.reset(open(("/dev/" + entry.path().filename().string()).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    }
    return bool(port);
  });
  if (!there) return Error{Errc::not_found, "no virtio-serial port of the name that it should have"};
  return port;
}

Result<UniqueFd> mount_files() {
  struct stat disk {};
  if (!wait_for([&] { return stat("/dev/vda", &disk) == 0; })) return Error{Errc::not_found, "no disk"};
  // Data that the machine has not written yet is lost if it is killed, so there should be little of it.
  std::ofstream("/proc/sys/vm/dirty_expire_centisecs") << 100;
  std::ofstream("/proc/sys/vm/dirty_writeback_centisecs") << 50;
  if (auto done = mount_at("/dev/vda", kFiles, "ext4", MS_NOSUID | MS_NODEV | MS_NOEXEC, "commit=1"); !done)
    return done.error();
  UniqueFd root(open(kFiles, O_PATH | O_DIRECTORY));
  if (!root) return failed(kFiles);
  return root;
}

sockaddr_in in4(const char* text) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  inet_pton(AF_INET, text, &in.sin_addr);
  return in;
}

in6_addr in6(const char* text) {
  in6_addr in{};
  inet_pton(AF_INET6, text, &in);
  return in;
}

template <typename T>
void put(sockaddr& out, const T& in) {
  static_assert(sizeof in <= sizeof out);
  std::memcpy(&out, &in, sizeof in);
}

// A route to a network of IPv4. `how` says which kind; the caller sets the rest.
rtentry route4(const Network& network, int how) {
  sockaddr_in to = in4("0.0.0.0"), mask = to;
  std::memcpy(&to.sin_addr, network.base.data(), sizeof to.sin_addr);
  mask.sin_addr.s_addr = network.prefix ? htonl(UINT32_MAX << (32 - network.prefix)) : 0;
  rtentry route{};
  put(route.rt_dst, to);
  put(route.rt_genmask, mask);
  route.rt_flags = static_cast<unsigned short>(RTF_UP | how);
  return route;
}
in6_rtmsg route6(const Network& network, int how) {
  in6_rtmsg route{};
  std::memcpy(&route.rtmsg_dst, network.base.data(), sizeof route.rtmsg_dst);
  route.rtmsg_dst_len = static_cast<uint16_t>(network.prefix);
  route.rtmsg_flags = static_cast<unsigned>(RTF_UP | how);
  return route;
}
template <typename Route>
bool add(int any, Route route) {
  return ioctl(any, SIOCADDRT, &route) == 0 || errno == EEXIST;
}

bool is_four(const Network& network) { return network.base.size() == sizeof(in_addr); }

// Routes that lead nowhere.
bool deny4(int any, const Network& network) { return add(any, route4(network, RTF_REJECT)); }
bool deny6(int any, const Network& network) {
  in6_rtmsg route = route6(network, RTF_REJECT);
  route.rtmsg_metric = 1;
  route.rtmsg_ifindex = static_cast<int>(if_nametoindex("lo"));
  return add(any, route);
}

// The machine's own networks, whose prefixes are multiples of 8 bits.
std::vector<Network> machine_networks() {
  return {*parse_network(kMachineNetwork.network), *parse_network(fmt::format("{}/64", kMachineNetwork.network6))};
}

// QEMU takes every address of its network for one of its host. The network is denied in two halves, because each of
// these is nearer than the route to the whole, by which the router is found.
bool deny_network(int any4, int any6) {
  for (const Network& whole : machine_networks())
    for (int half = 0; half < 2; ++half) {
      Network network = whole;
      if (half) network.base[whole.prefix / 8] |= std::byte{0x80};
      ++network.prefix;
      if (is_four(network) ? !deny4(any4, network) : any6 >= 0 && !deny6(any6, network)) return false;
    }
  return true;
}

// The networks to which there are routes: those that the service may reach. All, if that is not given, or if the
// service listens, because everybody who comes is to be answered. An address that is refused to all services has no
// route nearer than the one by which it is denied.
std::vector<Network> reached(const Options& options) {
  if (!options.to || !options.confinement.listen.empty()) return {*parse_network("0.0.0.0/0"), *parse_network("::/0")};
  std::vector<Network> refused = machine_networks();
  for (const NeverReached& row : kNeverReached) refused.push_back(*parse_network(row.network));
  std::vector<Network> all;
  for (const Destination& one : *options.to)
    if (std::none_of(refused.begin(), refused.end(), [&](const Network& no) { return no.covers(one.network); }))
      all.push_back(one.network);
  return all;
}

bool start4(int any, ifreq card, const std::vector<Network>& reached) {
  const MachineNetwork& net = kMachineNetwork;
  put(card.ifr_addr, in4(net.own));
  if (ioctl(any, SIOCSIFADDR, &card) != 0) return false;
  put(card.ifr_netmask, in4(net.netmask));
  if (ioctl(any, SIOCSIFNETMASK, &card) != 0) return false;
  card.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(any, SIOCSIFFLAGS, &card) != 0) return false;
  return std::all_of(reached.begin(), reached.end(), [&](const Network& network) {
    if (!is_four(network)) return true;
    rtentry route = route4(network, RTF_GATEWAY);
    put(route.rt_gateway, in4(net.router));
    return add(any, route);
  });
}

bool start6(int any, const std::string& name, int index, const std::vector<Network>& reached) {
  const MachineNetwork& net = kMachineNetwork;
  // Duplicates of its address are not looked for, nor further addresses: that would take a second.
  for (const char* setting : {"accept_dad", "accept_ra", "autoconf"})
    std::ofstream(fmt::format("/proc/sys/net/ipv6/conf/{}/{}", name, setting)) << 0;
  in6_ifreq own{};
  own.ifr6_addr = in6(net.own6);
  own.ifr6_prefixlen = 64;
  own.ifr6_ifindex = index;
  if (ioctl(any, SIOCSIFADDR, &own) != 0) return false;
  return std::all_of(reached.begin(), reached.end(), [&](const Network& network) {
    if (is_four(network)) return true;
    in6_rtmsg route = route6(network, RTF_GATEWAY);
    route.rtmsg_gateway = in6(net.router6);
    route.rtmsg_metric = 1024;  // that of a denial is less
    route.rtmsg_ifindex = index;
    return add(any, route);
  });
}

Result<void> start_network(const Options& options) {
  std::string name;
  const bool there = wait_for([&] {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/class/net", error))
      if (std::filesystem::exists(entry.path() / "device", error)) name = entry.path().filename().string();
    return !name.empty();
  });
  if (!there || name.size() >= IFNAMSIZ) return Error{Errc::not_found, "no network card"};
  const UniqueFd any4(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const UniqueFd any6(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!any4) return failed("socket");
  ifreq card{};
  name.copy(card.ifr_name, IFNAMSIZ - 1);
  if (ioctl(any4.get(), SIOCGIFINDEX, &card) != 0) return failed(name);
  const int index = card.ifr_ifindex;
  const std::vector<Network> ways = reached(options);
  if (!start4(any4.get(), card, ways)) return failed(fmt::format("IPv4 at {}", name));
  // Without the loopback device, routes that lead nowhere have no device.
  ifreq loopback{};
  std::strcpy(loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(any4.get(), SIOCSIFFLAGS, &loopback) != 0) return failed("loopback");
  if (any6 && !start6(any6.get(), name, index, ways)) return failed(fmt::format("IPv6 at {}", name));
  if (!deny_network(any4.get(), any6.get())) return failed("no way to deny this host");
  // After the routes that lead somewhere: of two IPv4 routes to the same network the later one counts.
  std::vector<Network> denied;
  for (const auto& address : options.denied) denied.push_back({address, static_cast<unsigned>(address.size()) * 8});
  for (const NeverReached& row : kNeverReached)
    if (row.metadata) denied.push_back(*parse_network(row.network));
  for (const Network& network : denied) {
    if (!is_four(network) && !any6) continue;
    if (is_four(network) ? deny4(any4.get(), network) : deny6(any6.get(), network)) continue;
    return failed(fmt::format("no way to deny {}", address_text(network.base)));
  }
  return {};
}

struct Running {
  pid_t pid = -1;
  UniqueFd pidfd, life;
  ChannelFds channel;
};

Result<Running> start_proxy(const std::vector<std::string>& arguments, UniqueFd root) {
  Running running;
  Result<ChannelFds> channel = Channel::create();
  if (!channel) return channel.error();
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return failed("pipe");
  const UniqueFd theirs(ends[0]);
  running.life = UniqueFd(ends[1]);
  std::vector<std::string> words = {"oboro-proxy"};
  const std::array inherited = {channel->memory.get(), channel->for_proxy.get(), channel->for_tracer.get(), root.get(),
                                theirs.get()};
  size_t at = 0;
  for (const char* option : {"--memory", "--for-proxy", "--for-tracer", "--root", "--life"})
    words.insert(words.end(), {option, std::to_string(inherited[at++])});
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  running.pid = fork();
  if (running.pid < 0) return failed("fork");
  if (running.pid == 0) {
    for (const int fd : inherited) fcntl(fd, F_SETFD, 0);
    execv("/proc/self/exe", argv.data());
    _exit(127);
  }
  running.pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, running.pid, 0)));
  if (!running.pidfd) return failed("pidfd_open");
  running.channel = std::move(*channel);
  return running;
}

Result<void> work() {
  const std::vector<std::string> arguments = lines_of(kArgumentsFile);
  const std::vector<std::string> directories = lines_of(kDirectoriesFile);
  std::vector<std::string> words = {"init"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const Result<Options> options = parse_options(words);
  if (!options) return options.error();
  if (auto done = mount_at("proc", "/proc", "proc"); !done) return done;
  if (auto done = load_modules(); !done) return done;
  if (auto done = leave_first_root(); !done) return done;
  Result<UniqueFd> port = open_port();
  if (!port) return port.error();
  Result<UniqueFd> files = mount_files();
  if (!files) return files.error();
  for (const std::string& directory : directories)
    if (auto done = make_directories(files->get(), directory); !done) return done;
  if (options->confinement.network)
    if (auto done = start_network(*options); !done) return done;
  Result<Running> proxy = start_proxy(arguments, std::move(*files));
  if (!proxy) return proxy.error();
  Result<Channel> channel = Channel::attach(std::move(proxy->channel), Channel::Side::tracer);
  if (!channel) return channel.error();
  // EAGAIN until the other end is open. The port says that a moment after it has got its name.
  if (!wait_for([&] { return write_all(port->get(), std::string_view(&kReady, 1)); }, kOtherEndMs))
    return failed("the other end of the port");
  Result<void> relayed = relay(std::move(*channel), std::move(*port), proxy->pidfd.get());
  proxy->life.reset();
  int status = 0;
  while (waitpid(proxy->pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!relayed) return relayed;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) return Error{Errc::io, kKilledByFilter};
  if (WIFSIGNALED(status)) return Error{Errc::io, fmt::format("the proxy was ended by signal {}", WTERMSIG(status))};
  return {};
}

}  // namespace

Result<void> init() {
  if (getpid() != 1) return Error{Errc::invalid, "init: this is not the first process of a machine"};
  signal(SIGPIPE, SIG_IGN);
  // The proxy writes to this console, too, and may have left half a line there.
  if (const auto done = work(); !done) write_all(STDERR_FILENO, "\noboro-proxy: " + done.error().message + "\n");
  umount2(kFiles, 0);
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}

}  // namespace oboro::proxy
