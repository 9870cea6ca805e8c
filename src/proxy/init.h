// The first process of a proxy's machine (oboro run --proxy vm): a guest of its own, whose initial RAM disk holds this
// program and the kernel modules that it takes, and nothing else. It makes that machine ready, starts in it the same
// proxy as on a host, with the same confinement, and carries its frames (relay.h) to the virtio-serial port.
//
// The machine gets these (src/supervisor/launch/proxy_machine.h makes it):
//   /oboro/arguments   of the proxy, one a line
//   /oboro/modules     paths of kernel modules in the order in which they are loaded, one a line
//   /oboro/directories that are made beneath the files' root if they are not there, one a line
//   virtio disk 1      ext4, the root of the service's files
//   virtio-serial port "oboro.proxy"
//   a virtio network card, with --network remote: QEMU's user network at kMachineNetwork
//
// Beyond the proxy's own check, the routes of this machine lead to no address that is denied. With --to and without
// --listen, they lead to no other networks than those of --to. That holds even against code execution in the proxy,
// which may not change routes.
#pragma once

#include "base/result.h"

namespace oboro::proxy {

inline constexpr char kArgumentsFile[] = "/oboro/arguments";
inline constexpr char kModulesFile[] = "/oboro/modules";
inline constexpr char kDirectoriesFile[] = "/oboro/directories";
inline constexpr char kPortName[] = "oboro.proxy";
// The message, a line of its own on the console, if the proxy was killed by its seccomp filter.
inline constexpr char kKilledByFilter[] = "the proxy was ended by a system call that it may not make";

// Addresses for documentation. No real host has one, so nobody is hidden by them.
struct MachineNetwork {
  const char* network = "192.0.2.0/24";
  const char* own = "192.0.2.15";
  const char* netmask = "255.255.255.0";
  const char* router = "192.0.2.2";  // and QEMU's alias of its host
  const char* names = "192.0.2.3";   // QEMU's alias of the host's name server
  const char* network6 = "2001:db8:6f62:6f72::";
  const char* own6 = "2001:db8:6f62:6f72::15";
  const char* host6 = "2001:db8:6f62:6f72::2";
  const char* names6 = "2001:db8:6f62:6f72::3";
  const char* router6 = "fe80::2";
};
inline constexpr MachineNetwork kMachineNetwork;

// Runs until the other end of the port is closed, or the proxy has ended. Then the machine is switched off. Messages go
// to standard error, which is the console. Returns only if this process is not the first one.
Result<void> init();

}  // namespace oboro::proxy
