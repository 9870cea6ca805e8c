// The machine of a proxy (oboro run --proxy vm): a guest of its own, apart from the watched one, in which proxy/init.h
// runs. Its files are on a disk of its own, in an ext4 file system.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "supervisor/launch/child.h"

namespace oboro::supervisor {

struct ProxyMachine {
  std::string kernel;   // image; empty: the one that this host runs
  std::string modules;  // its /lib/modules/RELEASE; empty: this host's
  std::string qemu;     // executable; empty: find_qemu()
};

struct ProxyMachineWork {
  std::string name;                      // of the service
  std::string disk;                      // image file; made if it is not there
  std::vector<std::string> arguments;    // of the proxy
  std::vector<std::string> directories;  // to be made in its root
  bool network = false;
  std::vector<uint16_t> listen;
  std::optional<uint64_t> max_memory;  // bytes, of the proxy in it
  std::optional<uint64_t> max_disk;    // bytes, of its files
};

// The size of a disk that is made where the files have no bound of their own. On the host a disk takes only as much
// room as its content.
inline constexpr uint64_t kProxyDiskSize = uint64_t{8} << 30;
// With a bound: enough for so much, and for what the file system needs itself. So even who executes code in the proxy
// takes little more.
constexpr uint64_t disk_size(std::optional<uint64_t> max_disk) {
  return max_disk ? (*max_disk + *max_disk / 16 + (uint64_t{64} << 20)) / 4096 * 4096 : kProxyDiskSize;
}

// stream: a socket, to be its virtio-serial port. console: a pipe. program: oboro-proxy. Errors: not_found, invalid
// (kernel, modules), io.
Result<Child> start_proxy_machine(const ProxyMachine& machine, const ProxyMachineWork& work, const std::string& program,
                                  int stream, int console);

}  // namespace oboro::supervisor
