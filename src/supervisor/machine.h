// The virtual machine that `oboro run` starts: from the user's options to a QEMU command line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace oboro::supervisor {

struct Machine {
  std::string vm;  // name of the guest in events
  std::string kernel, initrd, append;
  std::vector<std::string> disks;       // image files; qcow2 by its magic, else raw
  uint64_t memory = uint64_t{1} << 30;  // bytes
  unsigned cpus = 1;
  std::string qemu;                  // executable; empty: find_qemu()
  std::vector<std::string> further;  // handed to QEMU as they are, at the end
};

// Descriptors that the QEMU process inherits.
struct Inherited {
  int ram = -1, control = -1, settings = -1, ring = -1;
};

// Errors: invalid (what is missing or contradicts itself; options among `further` that would undo the tracer).
Result<void> check(const Machine& machine);

// The command line; plugin: path of oboro-tcg.so.
Result<std::vector<std::string>> qemu_command(const Machine& machine, const std::string& plugin, const Inherited& fds,
                                              bool terminal);

// OBORO_QEMU, else the one that tools/fetch brought ($OBORO_CACHE/qemu), else the first in PATH. Errors: not_found.
Result<std::string> find_qemu();

// Asks `qemu --version`. Errors: unsupported if it is older than the plugin interface that Oboro needs (QEMU 11.1).
Result<std::string> qemu_version(const std::string& qemu);

// ${OBORO_CACHE:-$HOME/.cache/oboro}, as tools/fetch has it.
std::string cache_directory();

}  // namespace oboro::supervisor
