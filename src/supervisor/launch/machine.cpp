#include "supervisor/launch/machine.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <memory>
#include <string.h>
#include <string_view>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "supervisor/launch/block_devices.h"

namespace oboro::supervisor {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kMaxMemory = uint64_t{1} << 40;
constexpr unsigned kMaxCpus = 64;

// hw/i386/pc_piix.c: with 3.5 GiB or more, the memory above 3 GiB is placed above 4 GiB.
uint64_t below_4g(uint64_t memory) { return memory >= 0xe0000000 ? 0xc0000000 : memory; }

Result<void> readable(const std::string& path, const char* what) {
  if (path.empty()) return {};
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd || fstat(fd.get(), &info) != 0)
    return Error{Errc::not_found, fmt::format("{} {}: {}", what, path, strerror(errno))};
  if (S_ISDIR(info.st_mode)) return Error{Errc::invalid, fmt::format("{} {}: is a directory", what, path)};
  return {};
}

bool is_executable(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && access(path.c_str(), X_OK) == 0;
}

std::string start_of(const Inherited& fds) {
  std::string text = fmt::format("control={},settings={},ring={},ring-read={},commands={},lock={}", fds.control,
                                 fds.settings, fds.ring, fds.ring_read, fds.commands, fds.lock);
  for (const std::vector<int>& proxy : fds.proxies) text += fmt::format(",proxy={}", fmt::join(proxy, ":"));
  return text;
}

std::string preload(const Parts& parts) {
  const char* others = getenv("LD_PRELOAD");
  return parts.preload + (others && *others ? std::string(":") + others : "");
}

bool is_option(std::string_view argument, std::initializer_list<std::string_view> options) {
  if (argument.starts_with("--")) argument.remove_prefix(1);
  return std::find(options.begin(), options.end(), argument) != options.end();
}

bool has_option(const std::vector<std::string>& arguments, std::initializer_list<std::string_view> options) {
  return std::any_of(arguments.begin(), arguments.end(), [&](const auto& one) { return is_option(one, options); });
}

// Whether QEMU becomes a user that its arguments name.
bool names_a_user(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i)
    if (is_option(arguments[i], {"-runas"}) || (i > 0 && is_option(arguments[i - 1], {"-run-with"}) &&
                                                ("," + arguments[i]).find(",user=") != std::string::npos))
      return true;
  return false;
}

}  // namespace

std::string qemu_escape(std::string_view value) {
  std::string out;
  for (const char c : value) {
    out += c;
    if (c == ',') out += ',';
  }
  return out;
}

std::string cache_directory() {
  const auto variable = [](const char* name) {
    const char* value = getenv(name);
    return std::string(value ? value : "");
  };
  if (std::string own = variable("OBORO_CACHE"); !own.empty()) return own;
  return variable("HOME") + "/.cache/oboro";
}

Result<void> check_beginning(const std::vector<std::string>& arguments) {
  for (const char* option : {"-incoming", "-loadvm"})
    if (has_option(arguments, {option}))
      return Error{
          Errc::invalid,
          fmt::format("QEMU's {} is refused: a guest that goes on from a saved state cannot be traced, as nobody "
                      "knows which labels its memory bears; let it boot",
                      option)};
  return {};
}

Result<void> check(const MachineOptions& m) {
  if (m.kernel.empty() && m.disks.empty())
    return Error{Errc::invalid, "nothing to boot: give --kernel (with --initrd, --append) or --disk"};
  if (m.kernel.empty() && (!m.initrd.empty() || !m.append.empty()))
    return Error{Errc::invalid, "--initrd and --append need --kernel"};
  if (m.memory < 64 * kMiB || m.memory > kMaxMemory || m.memory % kMiB)
    return Error{Errc::invalid, "--memory must be between 64M and 1024G, in whole MiB"};
  if (m.cpus < 1 || m.cpus > kMaxCpus)
    return Error{Errc::invalid, fmt::format("--cpus must be between 1 and {}", kMaxCpus)};
  for (const auto& [path, what] : {std::pair(m.kernel, "kernel"), std::pair(m.initrd, "initrd")})
    if (auto ok = readable(path, what); !ok) return ok;
  for (const disk::Disk& disk : m.disks)
    for (const disk::Image& image : disk.images)
      for (const std::string& file : {image.file, image.data})
        if (auto ok = readable(file, "disk"); !ok) return ok;
  for (const auto& [option, instead] :
       {std::pair("-m", "--memory"), std::pair("-smp", "--cpus"), std::pair("-machine", "none"),
        std::pair("-M", "none"), std::pair("-accel", "--engine"), std::pair("-enable-kvm", "--engine"),
        std::pair("-plugin", "none"), std::pair("-daemonize", "none")})
    if (has_option(m.further, {option}))
      return Error{Errc::invalid,
                   fmt::format("QEMU's {} cannot be given after --: it is the tracer's{}", option,
                               std::string_view(instead) == "none" ? "" : fmt::format("; use {}", instead))};
  if (auto ok = check_beginning(m.further); !ok) return ok;
  // It would change nothing for them, and the user would learn that from a disk that has changed.
  if (!m.disks.empty() && has_option(m.further, {"-snapshot"}))
    return Error{Errc::invalid,
                 "QEMU's -snapshot, after --, does not concern a disk that --disk names: have an overlay made "
                 "(qemu-img create -f qcow2 -b FILE -F FORMAT OVERLAY) and give "
                 "--disk OVERLAY,backing=FILE,backing-format=FORMAT"};
  return {};
}

bool is_sandboxed(const std::vector<std::string>& arguments, bool otherwise) {
  for (size_t i = 1; i < arguments.size(); ++i) {
    if (!is_option(arguments[i - 1], {"-sandbox"})) continue;
    if (arguments[i] == "on" || arguments[i].starts_with("on,")) return true;  // an "off" takes nothing away
    otherwise = false;
  }
  return otherwise;
}

bool takes_a_user(const MachineOptions& m) { return !has_option(m.further, {"-sandbox"}) && !names_a_user(m.further); }

std::vector<std::string> kvm_environment(const MachineOptions& m, const Parts& parts, const Inherited& fds) {
  return {"LD_PRELOAD=" + preload(parts), fmt::format("OBORO_KVM={},hooks={}", start_of(fds), m.hooks)};
}

Command qemu_command(const MachineOptions& m, const std::vector<disk::ResolvedDisk>& disks, const Parts& parts,
                     const Inherited& fds, const std::vector<std::string>& user, bool terminal) {
  Command result;
  std::vector<std::string>& command = result.words;
  const bool kvm = m.engine == Engine::kvm;
  command = {m.qemu,
             "-name",
             qemu_escape(m.vm),
             "-m",
             fmt::format("{}M", m.memory / kMiB),
             "-smp",
             fmt::format("{}", m.cpus),
             "-display",
             "none"};
  const auto add = [&](std::initializer_list<std::string> more) { command.insert(command.end(), more); };
  if (kvm)
    add({"-machine", "pc", "-accel", "kvm"});
  else
    // Guest RAM is a memory file of ours, so that the tracer can have a read-only mapping of its own.
    add({"-object",
         fmt::format("memory-backend-file,id=oboro-ram,size={},mem-path=/proc/self/fd/{},share=on", m.memory, fds.ram),
         "-machine", "pc,memory-backend=oboro-ram", "-accel", "tcg,thread=multi"});
  if (!has_option(m.further, {"-cpu"})) add({"-cpu", kvm ? "host" : "max"});
  if (!has_option(m.further, {"-serial", "-nographic"})) {
    if (terminal)
      add({"-serial", "mon:stdio"});
    else
      add({"-serial", "stdio", "-monitor", "none"});
  }
  if (!has_option(m.further, {"-nic", "-netdev", "-net", "-nodefaults"}))
    add({"-netdev", "user,id=oboro-net", "-device", "virtio-net-pci,netdev=oboro-net,romfile="});
  // The filter is there when QEMU becomes another user, by the calls that elevateprivileges denies. After that they are
  // of no use to it.
  const char* change = !user.empty() || names_a_user(m.further) ? "allow" : "deny";
  if (!has_option(m.further, {"-sandbox"}))
    add({"-sandbox", fmt::format("on,obsolete=deny,elevateprivileges={},spawn=deny,resourcecontrol=deny", change)});
  command.insert(command.end(), user.begin(), user.end());
  if (!m.kernel.empty()) add({"-kernel", m.kernel});
  if (!m.initrd.empty()) add({"-initrd", m.initrd});
  if (!m.append.empty()) add({"-append", m.append});
  const BlockDevices block = block_devices(disks);
  command.insert(command.end(), block.nodes.begin(), block.nodes.end());
  if (kvm)
    result.environment = kvm_environment(m, parts, fds);
  else
    add({"-plugin", fmt::format("{},{},ram={},below-4g={}", qemu_escape(parts.plugin), start_of(fds), fds.ram,
                                below_4g(m.memory))});
  command.insert(command.end(), m.further.begin(), m.further.end());
  // Behind all other devices. Places on the PCI bus are given out in order, and a guest names its network interface by
  // the place.
  command.insert(command.end(), block.devices.begin(), block.devices.end());
  return result;
}

Result<std::string> find_qemu() {
  if (const char* own = getenv("OBORO_QEMU"); own && *own) {
    if (is_executable(own)) return std::string(own);
    return Error{Errc::not_found, fmt::format("OBORO_QEMU={}: not an executable file", own)};
  }
  const std::string fetched = cache_directory() + "/qemu/bin/qemu-system-x86_64";
  if (is_executable(fetched)) return fetched;
  const char* path = getenv("PATH");
  std::string_view rest = path ? path : "";
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string candidate = std::string(rest.substr(0, colon)) + "/qemu-system-x86_64";
    if (is_executable(candidate)) return candidate;
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
  }
  return Error{Errc::not_found, "no qemu-system-x86_64 found; `tools/fetch qemu` brings one that fits"};
}

Result<std::string> qemu_version(const std::string& qemu, Engine engine, const Parts& parts) {
  // Not through a shell, as the user names the path.
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return Error{Errc::io, fmt::format("pipe: {}", strerror(errno))};
  const UniqueFd out(pipe_fds[0]);
  UniqueFd in(pipe_fds[1]);
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return Error{Errc::io, fmt::format("pipe: {}", strerror(errno))};
  const UniqueFd hello(pipe_fds[0]);
  UniqueFd for_hello(pipe_fds[1]);
  const pid_t child = fork();
  if (child < 0) return Error{Errc::io, fmt::format("fork: {}", strerror(errno))};
  if (child == 0) {
    dup2(in.get(), STDOUT_FILENO);
    if (engine == Engine::kvm) {
      fcntl(for_hello.get(), F_SETFD, 0);
      setenv("OBORO_KVM_HELLO", std::to_string(for_hello.get()).c_str(), 1);
      setenv("LD_PRELOAD", preload(parts).c_str(), 1);
    }
    execl(qemu.c_str(), qemu.c_str(), "--version", nullptr);
    _exit(127);
  }
  in.reset();
  for_hello.reset();
  std::string text(4096, '\0');
  size_t used = 0;
  for (ssize_t n; used < text.size() && (n = read(out.get(), text.data() + used, text.size() - used)) > 0;)
    used += static_cast<size_t>(n);
  text.resize(used);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  unsigned major = 0, minor = 0, micro = 0;
  if (sscanf(text.c_str(), "QEMU emulator version %u.%u.%u", &major, &minor, &micro) < 2)
    return Error{Errc::unsupported, fmt::format("{}: `--version` does not answer as QEMU does", qemu)};
  const std::string version = fmt::format("{}.{}.{}", major, minor, micro);
  if (engine == Engine::tcg && (major < 11 || (major == 11 && minor < 1)))
    return Error{
        Errc::unsupported,
        fmt::format(
            "{} is QEMU {}, whose plugins cannot do what tracing needs (11.1 can; `tools/fetch qemu` brings it)", qemu,
            version)};
  char greeting = 0;
  if (engine == Engine::kvm && read(hello.get(), &greeting, 1) != 1)
    return Error{Errc::unsupported,
                 fmt::format("{} does not load {}: its guest would not be traced", qemu, parts.preload)};
  return version;
}

}  // namespace oboro::supervisor
