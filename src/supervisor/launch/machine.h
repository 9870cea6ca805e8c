// The virtual machine that `oboro run` starts: from the user's options to a QEMU command line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "disk/resolve.h"

namespace oboro::supervisor {

enum class Engine { automatic, tcg, kvm };

struct MachineOptions {
  Engine engine = Engine::automatic;
  std::string hooks = "auto";  // KVM: auto, filter, text or debug (docs/kvm.md)
  std::string vm;              // name of the guest in events
  std::string kernel, initrd, append;
  std::vector<disk::Disk> disks;
  uint64_t memory = uint64_t{1} << 30;  // bytes
  unsigned cpus = 1;
  std::string qemu;                  // executable; empty: find_qemu()
  std::vector<std::string> further;  // handed to QEMU as they are
};

// Descriptors that the QEMU process inherits.
struct Inherited {
  int ram = -1, control = -1, settings = -1, ring = -1, ring_read = -1, commands = -1, lock = -1;
  std::vector<std::vector<int>> proxies{};  // Proxies::tracer_fds()
  std::vector<int> all() const {
    std::vector<int> fds = {ram, control, settings, ring, ring_read, commands, lock};
    for (const std::vector<int>& proxy : proxies) fds.insert(fds.end(), proxy.begin(), proxy.end());
    return fds;
  }
};

// Errors: invalid (what is missing or contradicts itself; options among `further` that would undo the tracing).
Result<void> check(const MachineOptions& machine);

// Of arguments of QEMU, whoever gives them: a guest has to begin with its boot. Errors: invalid.
Result<void> check_beginning(const std::vector<std::string>& arguments);

// The two shared objects, one of which QEMU is to load.
struct Parts {
  std::string plugin;   // oboro-tcg.so
  std::string preload;  // oboro-kvm.so
};

struct Command {
  std::vector<std::string> words;
  std::vector<std::string> environment;  // NAME=VALUE, besides the variables that are there
};

// The variables that make a QEMU load oboro-kvm.so.
std::vector<std::string> kvm_environment(const MachineOptions& machine, const Parts& parts, const Inherited& fds);

// Whether a QEMU with these arguments filters its system calls, and so gives up all further privileges. otherwise: if
// they do not say.
bool is_sandboxed(const std::vector<std::string>& arguments, bool otherwise);

// Whether the machine leaves both to us: QEMU's sandbox, and the user that QEMU becomes.
bool takes_a_user(const MachineOptions& machine);

// The command that starts QEMU. The machine's engine is decided. disks: the machine's disks, as disk::resolve() found
// them. user: QemuUser::arguments(), or nothing.
Command qemu_command(const MachineOptions& machine, const std::vector<disk::ResolvedDisk>& disks, const Parts& parts,
                     const Inherited& fds, const std::vector<std::string>& user, bool terminal);

// A value as QEMU's option parser takes it: ",," for a comma.
std::string qemu_escape(std::string_view value);

// OBORO_QEMU, else the one that tools/fetch brought ($OBORO_CACHE/qemu), else the first in PATH. Errors: not_found.
Result<std::string> find_qemu();

// Asks `qemu --version`. Errors: unsupported if QEMU is older than the engine needs (TCG: the plugin interface of QEMU
// 11.1), or does not load a preloaded library (KVM): it is linked statically, say, or has privileges of its own.
Result<std::string> qemu_version(const std::string& qemu, Engine engine, const Parts& parts);

// ${OBORO_CACHE:-$HOME/.cache/oboro}, as tools/fetch has it.
std::string cache_directory();

}  // namespace oboro::supervisor
