#include "supervisor/launch/proxy_machine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <stdlib.h>
#include <string_view>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io_error.h"
#include "proxy/init.h"
#include "supervisor/launch/initial_ram_disk.h"
#include "supervisor/launch/kvm_probe.h"
#include "supervisor/launch/machine.h"
#include "supervisor/say.h"

namespace oboro::supervisor {
namespace {

constexpr uint64_t kMachineMemory = 256 << 20;  // bytes, at least

// Made beside its place first, so that a half-made disk is never taken for a whole one.
Result<void> make_disk(const std::string& path, std::optional<uint64_t> max_disk) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0) {
    if (max_disk && static_cast<uint64_t>(status.st_size) < *max_disk)
      say(fmt::format("{} has {} bytes, less than max_disk: it is used as it is", path, status.st_size));
    return {};
  }
  const std::string half = path + ".new";
  UniqueFd file(open(half.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file || ftruncate(file.get(), static_cast<off_t>(disk_size(max_disk))) != 0) return io_error(half);
  std::string program = "/sbin/mke2fs";
  if (access(program.c_str(), X_OK) != 0) program = "/usr/sbin/mke2fs";
  Result<Child> made = Child::start(
      {program, "-q", "-F", "-t", "ext4", "-m", "0", "-J", "size=16", "-E", "root_owner=0:0", half}, {}, {});
  if (!made) return Error{made.error().code, made.error().message + " (package e2fsprogs)"};
  const std::optional<int> status_of = made->wait();
  if (!status_of || !WIFEXITED(*status_of) || WEXITSTATUS(*status_of) != 0)
    return Error{Errc::io, fmt::format("{} {}: failed", program, half)};
  if (rename(half.c_str(), path.c_str()) != 0) return io_error(path);
  return {};
}

Result<std::pair<std::string, std::string>> kernel_and_modules(const ProxyMachine& machine) {
  utsname host{};
  uname(&host);
  std::string kernel = machine.kernel;
  if (kernel.empty()) {
    kernel = fmt::format("/boot/vmlinuz-{}", static_cast<const char*>(host.release));
    if (access(kernel.c_str(), R_OK) != 0)
      return Error{Errc::not_found,
                   fmt::format("{}: {}; --proxy-kernel says which kernel the proxy's machine is to boot", kernel,
                               strerror(errno))};
  }
  Result<std::string> release = kernel_release(kernel);
  if (!release) return release.error();
  return std::pair(kernel, machine.modules.empty() ? "/lib/modules/" + *release : machine.modules);
}

}  // namespace

Result<Child> start_proxy_machine(const ProxyMachine& machine, const ProxyMachineWork& work, const std::string& program,
                                  int stream, int console) {
  const auto boots = kernel_and_modules(machine);
  if (!boots) return boots.error();
  std::vector<std::string> wanted = {"virtio_pci", "virtio_console", "virtio_blk", "ext4"};
  if (work.network) wanted.emplace_back("virtio_net");
  // ext4 asks for this module by a name that no dependency contains.
  const auto modules = modules_in_order(boots->second, wanted, {"crc32c_generic"});
  if (!modules) return modules.error();
  const auto initrd =
      initial_ram_disk(program, *modules,
                       {{proxy::kArgumentsFile, fmt::format("{}\n", fmt::join(work.arguments, "\n"))},
                        {proxy::kDirectoriesFile, fmt::format("{}\n", fmt::join(work.directories, "\n"))}});
  if (!initrd) return initrd.error();
  if (auto made = make_disk(work.disk, work.max_disk); !made) return made.error();

  std::string qemu = machine.qemu;
  if (qemu.empty()) {
    Result<std::string> found = find_qemu();
    if (!found) return found.error();
    qemu = *found;
  }
  const bool kvm = bool(probe_kvm());
  std::vector<std::string> command = {
      qemu, "-name", qemu_escape("oboro-proxy-" + work.name), "-nodefaults", "-no-user-config", "-display", "none",
      "-no-reboot", "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
      // As much memory as the proxy may take. The minimum leaves room for the machine itself.
      "-m", fmt::format("{}M", std::max(kMachineMemory, work.max_memory.value_or(0)) >> 20), "-machine", "pc", "-accel",
      kvm ? "kvm" : "tcg", "-cpu", kvm ? "host" : "max", "-kernel", boots->first, "-initrd",
      fmt::format("/proc/self/fd/{}", initrd->get()), "-append", "console=ttyS0 quiet panic=-1 rdinit=/init -- init",
      "-chardev", fmt::format("file,id=console,path=/proc/self/fd/{}", console), "-serial", "chardev:console",
      "-chardev", fmt::format("socket,id=port,fd={}", stream), "-device", "virtio-serial-pci", "-device",
      fmt::format("virtserialport,chardev=port,name={}", proxy::kPortName), "-drive",
      fmt::format("file={},if=none,id=files,format=raw,discard=unmap", qemu_escape(work.disk)), "-device",
      "virtio-blk-pci,drive=files"};
  if (work.network) {
    const proxy::MachineNetwork& net = proxy::kMachineNetwork;
    std::string user = fmt::format("user,id=net,net={},host={},dns={},ipv6-prefix={}", net.network, net.router,
                                   net.names, net.network6);
    for (const uint16_t port : work.listen)
      for (const char* protocol : {"tcp", "udp"}) user += fmt::format(",hostfwd={0}::{1}-:{1}", protocol, port);
    command.insert(command.end(), {"-netdev", user, "-device", "virtio-net-pci,netdev=net,romfile="});
  }
  return Child::start(command, {}, {initrd->get(), stream, console});
}

}  // namespace oboro::supervisor
